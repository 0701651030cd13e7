"""The API's pool of connections, which know their server process where a pooler is between."""

from typing import TYPE_CHECKING, Any, Final, cast

import asyncpg

from db.session import address, pooler
from db.session.connection import EXTENSIONS, Connection
from db.session.pooler import PooledError

_RESET: Final = "RESET ROLE; RESET ALL; CLOSE ALL; UNLISTEN *; SELECT pg_catalog.pg_advisory_unlock_all()"


if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection  # generic to the type checker alone


class _Session(_Connection):
    """A connection.

    Attributes:
        backend: the id of the server process behind a pooler, when the connection was opened; None without one.
    """

    __slots__ = ("backend",)
    backend: int | None


async def open_pool(url: str, *, size: int, acquire_timeout: float) -> "asyncpg.Pool[asyncpg.Record]":
    """Open a pool. PostgreSQL need not be running yet.

    Args:
        url: the address of the API's login.
        size: most connections.
        acquire_timeout: seconds to wait for a connection.
    """
    pool: asyncpg.Pool[asyncpg.Record] = asyncpg.create_pool(
        url,
        min_size=0,
        max_size=size,
        connect=cast("Any", address.open_connection),
        connection_class=_Session,
        init=_initialise,
        reset=_reset,
        # As bootstrap sets it on the login; a database that was bootstrapped before does not have it.
        server_settings={"search_path": EXTENSIONS},
        statement_cache_size=1000,
        # A backend caches the catalog entries of every tenant it has served, so it is replaced in time.
        max_inactive_connection_lifetime=300,
        max_queries=200_000,
        timeout=acquire_timeout,
    )
    await pool
    return pool


async def check_backend(connection: Connection) -> None:
    """Check that a transaction runs on the server process that the connection began with. Costs nothing without pooler.

    Args:
        connection: of a pool, in a transaction.

    Raises:
        PooledError: it is another one, which others' prepared statements may be on.
    """
    backend = getattr(connection, "backend", None)
    if backend is not None and await pooler.get_backend(connection) != backend:
        raise PooledError


async def _initialise(connection: Any) -> None:
    """Keep asyncpg from switching JIT off and on around type look-ups, which a tenant's role must not do."""
    connection._server_caps = connection._server_caps._replace(jit=False)  # noqa: SLF001
    connection.backend = await pooler.get_pooled(connection)


async def _reset(connection: Any) -> None:
    """Reset a connection before it returns to the pool. asyncpg's own reset would keep the role."""
    await connection.execute(_RESET)
