"""The server's version: which PostgreSQL is new enough."""

from typing import Final

from db.errors import TenantryError
from db.session.connection import Connection

FLOORS: Final = {16: 160005, 17: 170001}
"""Oldest minor release of a major one: earlier ones lose SET ROLE on plan reuse (CVE-2024-10978)."""


class UnsupportedServerError(TenantryError):
    """PostgreSQL is older than what tenants' roles need."""

    kind = "unavailable"


def check_number(number: int) -> None:
    """Refuse servers below the floor: 16.5, 17.1, 18.

    Args:
        number: ``server_version_num``.

    Raises:
        UnsupportedServerError: it is older.
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
    """Refuse the connection's server if it is too old.

    Raises:
        UnsupportedServerError: it is older than the floor.
    """
    check_number(await get_number(connection))
