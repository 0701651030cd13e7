"""Names: what passes is safe everywhere, and everything else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db import names
from db.names import InvalidNameError


@pytest.mark.parametrize("text", ["a", "bakery", "Joe-s_Bakery2", "x" * 63])
def test_good_slugs_are_folded(text: str) -> None:
    assert names.slug(text) == text.lower()


@pytest.mark.parametrize("text", ["", "a\n", "1a", "a-", "-a", "a b", "x" * 64, "a/b", "a.b", "ß", "İ"])
def test_malformed_slugs_are_refused(text: str) -> None:
    with pytest.raises(InvalidNameError):
        names.slug(text)


@pytest.mark.parametrize(
    "text",
    [
        "PG_catalog",
        "public",
        "Shared",
        "none",
        "tenantry",
        "tenantry_app",
        "api",
        "cc",
        "www",
        "admin",
        "SELECT",
    ],
)
def test_reserved_slugs_are_refused(text: str) -> None:
    with pytest.raises(InvalidNameError, match="reserved"):
        names.slug(text)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("BAKERY", "bakery"),
        ("Straße", "straße"),
        ("\N{KELVIN SIGN}", "\N{KELVIN SIGN}"),
        ("İ", "İ"),
        ("Ä", "Ä"),
    ],
)
def test_folding_changes_ascii_letters_and_nothing_else(text: str, folded: str) -> None:
    assert names.folded(text) == folded
    assert names.get_slug(text) == (folded if folded.isascii() else None)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Joe's Bakery", "joe-s-bakery"),
        ("Café Müller & Söhne", "cafe-muller-sohne"),
        ("Straße 7", "strasse-7"),
        ("寿司", "shou-si"),
        ("Łódź", "lodz"),
        ("24h Shop", "t-24h-shop"),
        ("Admin", "t-admin"),
        ("Select", "t-select"),
        ("Tenantry two", "t-tenantry-two"),
        ("x" * 200, "x" * 63),
        ("a" * 62 + " b", "a" * 62),
        ("9" * 200, "t-" + "9" * 61),
    ],
)
def test_a_slug_is_made_from_names_of_many_kinds(name: str, slug: str) -> None:
    assert names.slug_from(name) == slug


@pytest.mark.parametrize("name", ["!!!", "🥐", " ", "-"])
def test_a_name_of_which_nothing_is_left_asks_for_a_slug(name: str) -> None:
    with pytest.raises(InvalidNameError, match="please choose one") as refused:
        names.slug_from(name)
    assert refused.value.fields[0].field == "slug"


@pytest.mark.parametrize("word", ["lateral", "collation", "tablesample", "old", "window", "drop", "role"])
def test_key_words_are_reserved(word: str) -> None:
    with pytest.raises(InvalidNameError, match="reserved"):
        names.slug(word)


@given(st.text(max_size=80))
def test_a_slug_made_from_any_name_is_a_slug_or_a_refusal(text: str) -> None:
    try:
        made = names.slug_from(text)
    except InvalidNameError:
        return
    assert names.slug(made) == made


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Bread.Example.com", "bread.example.com"),
        ("example.com.", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("localhost", "localhost"),
    ],
)
def test_hosts_are_ascii_and_lower_case(text: str, host: str) -> None:
    assert names.host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a:80",
        "*.a.com",
        "u@a.com",
        "10.0.0.1",
        "1.2.3",
        "[::1]",
        "a..b",
        "-a.com",
        "a_b.com",
        "a b",
        "x" * 254,
    ],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(InvalidNameError):
        names.host(text)


def test_schema_names_are_drawn_and_checked() -> None:
    drawn = {names.new_schema_name() for _ in range(100)}
    assert len(drawn) == 100
    for name in drawn:
        assert names.schema_name(name) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "public",
        "t_",
        "t_ABCDEFGHIJKLMNOP",
        "t_aaaaaaaaaaaaaaa1",
        "t_aaaaaaaaaaaaaaaa\n",
        "t_aaaaaaaaaaaaaaaa;",
    ],
)
def test_anything_else_is_no_schema_name(text: str) -> None:
    with pytest.raises(ValueError, match="not a tenant schema"):
        names.schema_name(text)


def test_quoting_closes_what_it_opens() -> None:
    assert names.quoted('a"b') == '"a""b"'
    assert names.literal("it's") == "'it''s'"
    assert names.literal("a\\'b") == " E'a\\\\''b'"
    for refused in ("", "a\0b", "x" * 64, "ä" * 32):
        with pytest.raises(ValueError, match="identifier"):
            names.quoted(refused)
