"""Checks of the PostgreSQL server's version, and of a database's encoding."""

from typing import Final

from db.errors import TenantryError
from db.session.connection import Connection

FLOORS: Final = {16: 160005, 17: 170001}
"""The oldest supported minor release of a major one. Earlier ones lose SET ROLE on plan reuse (CVE-2024-10978)."""


class UnsupportedServerError(TenantryError):
    """PostgreSQL is too old for tenants' roles, or the database holds no Unicode."""

    kind = "unavailable"


def check_number(number: int) -> None:
    """Check that a server's version is 16.5, 17.1, 18 or later.

    Args:
        number: the server's ``server_version_num``.

    Raises:
        UnsupportedServerError: the version is older.
    """
    major = number // 10000
    if major < 16 or number < FLOORS.get(major, 0):
        raise UnsupportedServerError(
            f"PostgreSQL {major}.{number % 10000} is too old: 16.5, 17.1 or 18 is the least"
        )


async def get_number(connection: Connection) -> int:
    """Return ``server_version_num``, such as 180001 for 18.1."""
    return int(await connection.fetchval("SELECT current_setting('server_version_num')::int"))


async def check(connection: Connection) -> None:
    """Check that the version of the connection's server is supported.

    Raises:
        UnsupportedServerError: the version is too old.
    """
    check_number(await get_number(connection))


async def check_encoding(connection: Connection) -> None:
    """Check that the connection's database is in UTF8. It cannot be changed later.

    Raises:
        UnsupportedServerError: it is in another encoding.
    """
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        name = await connection.fetchval("SELECT current_database()")
        raise UnsupportedServerError(
            f"the database {name} is in {encoding}, which cannot hold every text: make another one with"
            " ENCODING 'UTF8' TEMPLATE template0, and move what is in it by a dump"
        )
