"""Addresses of PostgreSQL: logins and databases are found, and replaced, wherever an address has them."""

import pytest

from db.session import address
from db.session.address import AddressError

SECRET = "s3cret:@/?#%"
QUOTED = "s3cret%3A%40%2F%3F%23%25"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://u@h/shop", "shop"),
        ("postgresql://u@h/my%20shop", "my shop"),
        ("postgresql:///?host=%2Frun&dbname=shop", "shop"),
        ("postgresql://u@h/other?database=shop", "shop"),
        ("postgresql://h1:5432,h2:5433/shop?target_session_attrs=read-write", "shop"),
        ("postgresql://[::1]:5432/shop", "shop"),
    ],
)
def test_a_database_is_found(url: str, name: str) -> None:
    assert address.database(url) == name
    assert address.database(address.with_database(url, "a/b")) == "a/b"


@pytest.mark.parametrize("url", ["postgresql://u@h", "postgresql://u@h/", "postgresql:///?host=h"])
def test_an_address_without_a_database_is_refused_with_words(url: str) -> None:
    with pytest.raises(AddressError, match="names no database"):
        address.database(url)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://root:{QUOTED}@h/shop",
        f"postgresql://h/shop?user=root&password={QUOTED}",
        f"postgresql://h/shop?password={QUOTED}&user=root&sslmode=disable",
        f"postgresql://root:{QUOTED}@h1:1,h2:2/shop",
        f"postgresql://root:{QUOTED}@[::1]:5432/shop",
        f"postgresql://root:{QUOTED}@%2Frun%2Fpg/shop",
    ],
)
def test_a_login_is_replaced_and_the_other_one_is_nowhere_left(url: str) -> None:
    assert address.login(url) == ("root", SECRET)
    other = address.with_login(url, "app", "x:y@z")
    assert address.login(other) == ("app", "x:y@z")
    assert "root" not in other
    assert QUOTED not in other
    assert address.database(other) == "shop"


def test_other_parameters_stay() -> None:
    url = "postgresql://u@h/shop?options=-c%20statement_timeout%3D5s&sslmode=disable&application_name=a%20b"
    changed = address.with_login(address.with_database(url, "other"), "app", "x")
    assert changed == (
        "postgresql://app:x@h/other?options=-c%20statement_timeout%3D5s&sslmode=disable&application_name=a%20b"
    )
