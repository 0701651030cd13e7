"""An installation: the names of its roles, and whether its database is spread over several servers by Citus.

Roles are the whole cluster's, so each installation has a prefix of its own. Only a bootstrap is told the prefix.
After that the login says whose connection it is.
"""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from db.session.connection import Connection

_LOGIN: Final = re.compile(r"([a-z][a-z0-9_]{0,30})_(?:app|owner)")


class Installation(msgspec.Struct, frozen=True):
    """An installation.

    Args:
        prefix: what the names of its roles begin with; tenants' roles have names of their own.
        citus: whether the database is Citus's.
    """

    prefix: str = "tenantry"
    citus: bool = False

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

    @property
    def login(self) -> str:
        """Whether keepers and tenants' roles may log in: Citus's nodes connect to each other as the current role."""
        return "LOGIN" if self.citus else "NOLOGIN"

    def unsharded(self, schema: str) -> list[str]:
        """Return the statements that create a schema which is on this server alone.

        Args:
            schema: what follows CREATE SCHEMA.
        """
        off = ["SET LOCAL citus.enable_schema_based_sharding TO off"] if self.citus else []
        return [*off, f"CREATE SCHEMA {schema}"]

    async def execute(self, connection: Connection, statements: Iterable[str]) -> None:
        """Execute statements in one message; on Citus one by one, as it sends a message's whole text to its nodes.

        Args:
            connection: of any login.
            statements: SQL without parameters, one statement in each text.
        """
        for text in statements if self.citus else (";\n".join(statements),):
            await connection.execute(text)


TENANTRY: Final = Installation()
"""The installation with the default prefix."""

_FOUND: Final = """
SELECT session_user::text AS login,
  EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'citus')
  OR current_setting('tenantry.citus', true) IS NOT DISTINCT FROM 'on' AS citus
"""
"""``tenantry.citus`` is a setting of the database by which tests force on plain PostgreSQL what Citus needs."""


async def of(connection: Connection, prefix: str | None = None) -> Installation:
    """Return the installation of a connection.

    Args:
        connection: of any login.
        prefix: what the names of its roles begin with; if None, the login says it, or it is the default.
    """
    row = await connection.fetchrow(_FOUND)
    assert row is not None  # a SELECT without FROM
    match = _LOGIN.fullmatch(row["login"])
    return Installation(prefix or (match[1] if match else TENANTRY.prefix), citus=row["citus"])
