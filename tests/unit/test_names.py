"""Names: what passes is safe everywhere, and everything else is refused."""

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db import names
from db.ledger import envelope
from db.ledger.contracts import ContractError
from db.names import InvalidNameError
from db.settings import PROJECT
from tests.flows import event


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


FORGERIES = ["a\nb", "a\n", "\ta", "\x1b[2J", "a\x7f", "a\x9bb", "a\u2028b", "a\u202eb", "\u2066a", "a\0"]
BLANKS = ["", " ", "\u3000 ", "\xa0", "\u200b\ufeff"]


@pytest.mark.parametrize("text", [*FORGERIES, *BLANKS, "x" * 201])
def test_a_line_of_text_has_no_controls_and_something_to_be_seen(text: str) -> None:
    with pytest.raises(InvalidNameError, match="one line"):
        names.line(text)
    for kind in (names.Line, names.ShortName, names.Reason, names.Reference, names.Slug, names.Host):
        if len(text) <= 200:
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert(text, kind)
    for field in ("name", "slug", "host")[: 3 if len(text) <= 200 else 2]:
        with pytest.raises(ContractError):
            envelope.signup(event("1", **{"name": "x", field: text}))


@pytest.mark.parametrize("text", ["Café", "  Joe's \u200d", "👩\u200d🍳 寿司", "שלום\u200f", "x" * 200])
def test_other_lines_are_taken_as_they_are(text: str) -> None:
    assert names.line(text) == text
    assert msgspec.convert(text, names.Line) == text


def test_a_description_may_have_lines_and_no_other_control() -> None:
    assert msgspec.convert("a\tb\r\nc\n", names.Description)
    for text in ("\x1b[2J", "a\0", "a\x85", "\u202e"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(text, names.Description)


@pytest.mark.parametrize("text", ["a@b.c", "Ä.b+c@büro.example", "ß@example.com", "a@b.c.d"])
def test_mailboxes_are_taken(text: str) -> None:
    assert msgspec.convert(text, names.Email) == text


@pytest.mark.parametrize(
    "text",
    [
        "a@b.c\n",
        "a@b.c\x1b",
        "a b@c.d",
        "a@b@c.d",
        "a@b",
        "@b.c",
        "a@b.",
        "a\u202e@b.c",
        "a@b.c\u200b",
        "\n@b.c",
    ],
)
def test_what_is_no_mailbox_is_refused_wherever_it_comes_from(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, names.Email)
    with pytest.raises(ContractError):
        envelope.signup(event("1", name="x", admin_email=text))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Bob@Example.COM", "bob@example.com"),
        ("ß@example.com", "ß@example.com"),
        ("e\u0301@example.com", "é@example.com"),
        ("É@example.com", "É@example.com"),
        ("\u0130@example.com", "\u0130@example.com"),
    ],
)
def test_a_mailbox_is_folded_without_becoming_another(text: str, kept: str) -> None:
    assert names.mailbox(text) == kept
    assert names.mailbox(kept) == kept


@given(st.emails())
def test_an_ascii_mailbox_is_what_it_was_by_the_folding_of_earlier_releases(text: str) -> None:
    if text.isascii():
        assert names.mailbox(text) == text.casefold()


@given(st.text())
def test_escaped_text_is_one_line_without_controls(text: str) -> None:
    shown = names.escaped(text)
    assert len(shown.splitlines()) <= 1
    assert all(char.isprintable() or char not in "\x1b\x7f\x9b\u202e\u2028" for char in shown)
    assert names.escaped("\x1b[2J\n\u202ex") == "\\x1b[2J\\n\\u202ex"


def test_no_pattern_ends_where_a_newline_may_follow() -> None:
    found = [
        f"{path.name}: {line.strip()}"
        for room in ("api", "db", "provisioner")
        for path in Path(PROJECT / room).rglob("*.py")
        for line in path.read_text().splitlines()
        if re.search(r"""(pattern=|re\.compile\().*\$["']""", line)
    ]
    assert found == []


@pytest.mark.parametrize("text", ["example.com\n", " example.com", "example.com..", "exa\u2028mple.com"])
def test_a_host_has_nothing_around_it(text: str) -> None:
    with pytest.raises(InvalidNameError):
        names.host(text)


@pytest.mark.parametrize(
    "word", ["template", "index", "name", "type", "view", "data", "public-house", "select-it"]
)
def test_other_key_words_of_sql_are_slugs_as_any(word: str) -> None:
    assert names.slug(word) == word
    assert names.slug_from(word) == word
