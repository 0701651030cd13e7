"""The provisioner's connections: all of the owner's, waited for until PostgreSQL can be reached."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar, cast

import asyncpg
import structlog

from db.session import address
from db.session.address import AddressError
from db.session.connection import SESSION
from db.session.failures import in_words
from db.session.pooler import PooledError
from provisioner.failures import AWAY

T = TypeVar("T")

log = structlog.get_logger(__name__)

_RETRY: Final = 0.5
"""Seconds between two tries to connect."""
_CLOSE: Final = 5.0
"""Seconds that closing the connections may take."""


async def waited(work: Callable[[], Awaitable[T]], stop: asyncio.Event) -> T | None:
    """Do some work; wait for PostgreSQL if it cannot be reached yet, or has no connection left. None if stopped.

    Args:
        work: the work, which is begun anew after a failure.
        stop: the event that ends the wait.

    Raises:
        AddressError: the address, or the server's certificate, does not allow a connection.
        PooledError: a pooler gives each transaction another server connection.
    """
    while not stop.is_set():
        try:
            return await work()
        except (AddressError, PooledError):
            raise
        except (*AWAY, asyncpg.LockNotAvailableError, asyncpg.TooManyConnectionsError) as error:
            log.warning("waiting for PostgreSQL", error=in_words(error), error_class=type(error).__name__)
            await asyncio.sleep(_RETRY)
    return None


@asynccontextmanager
async def open_pool(owner_url: str, size: int, stop: asyncio.Event) -> AsyncIterator[asyncpg.Pool | None]:
    """Open a pool of the owner's connections; None if stopped before there was a connection to be had.

    Closing takes at most 5 seconds, even if one is broken.

    Args:
        owner_url: the address.
        size: most connections.
        stop: the event that ends the wait for PostgreSQL.
    """
    session = {**SESSION, "application_name": "tenantry-provisioner"}

    async def opened() -> asyncpg.Pool:
        return await asyncpg.create_pool(
            owner_url,
            connect=cast("Any", address.open_connection),
            min_size=1,
            max_size=size,
            server_settings=session,
        )

    pool = await waited(opened, stop)
    if pool is None:
        yield None
        return
    try:
        yield pool
    finally:
        try:
            async with asyncio.timeout(_CLOSE):
                await pool.close()
        except (*AWAY, asyncpg.PostgresError) as error:
            log.warning("connections dropped", error=repr(error))
            pool.terminate()
