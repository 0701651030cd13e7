"""The type of a connection, search paths, and the settings of a provisioner's connections."""

from typing import Any, Final, Protocol, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from db.names import quoted

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
"""A connection of asyncpg, or a pool's proxy for one."""


class Looks(Protocol):
    """What runs single statements that change nothing: a connection, or `Database.looks`."""

    async def fetchrow(self, query: str, /, *args: Any) -> Any:
        """Run a statement and return its first row, or None if it returns no rows."""

    async def fetchval(self, query: str, /, *args: Any) -> Any:
        """Run a statement and return the first value of its first row, or None if it returns no rows."""


EXTENSIONS: Final = "extensions"
"""The schema of PostgreSQL's extensions, and the logins' whole search path: what is no extension's is qualified."""


def migration_path(schema: str) -> str:
    """Return the search path for revisions of a tenant's schema: new objects go there, extensions are found.

    Args:
        schema: the tenant's schema.
    """
    return f"{quoted(schema)}, {EXTENSIONS}, pg_temp"  # by default pg_temp would come first


SESSION: Final = {
    # If the client's process or machine is gone, its locks are released, even during a long statement.
    "client_connection_check_interval": "500ms",
    "tcp_keepalives_idle": "10s",
    "tcp_keepalives_interval": "5s",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "25s",  # keepalive probes are not sent while data is unacknowledged
}
"""Server settings of a session that holds advisory locks (PostgreSQL manual, Connection Settings)."""
