"""The names of an installation's roles. Roles are the whole cluster's, so each installation has a prefix of its own.

Only a bootstrap is told the prefix. After that the login says whose connection it is.
"""

import re
from typing import Final

import msgspec

from db.session.connection import Connection

_LOGIN: Final = re.compile(r"([a-z][a-z0-9_]{0,30})_(?:app|owner)")


class Installation(msgspec.Struct, frozen=True):
    """An installation.

    Args:
        prefix: what the names of its roles begin with; tenants' roles have names of their own.
    """

    prefix: str = "tenantry"

    @property
    def app(self) -> str:
        """The API's login."""
        return f"{self.prefix}_app"

    @property
    def owner(self) -> str:
        """The login that owns the schemas."""
        return f"{self.prefix}_owner"

    @property
    def keepers(self) -> str:
        """A regular expression for the names of its keepers."""
        return f"^{self.prefix}_keeper_[0-9]{{2,}}$"

    def keeper(self, number: int) -> str:
        """Return the name of a keeper."""
        return f"{self.prefix}_keeper_{number:02d}"


TENANTRY: Final = Installation()
"""The installation with the default prefix."""


async def of(connection: Connection) -> Installation:
    """Return the installation of a connection's login; `TENANTRY` for a login of another name."""
    match = _LOGIN.fullmatch(await connection.fetchval("SELECT session_user::text"))
    return Installation(match[1]) if match else TENANTRY
