"""Poolers between a program and PostgreSQL: what they may not do, and how that is found out.

A pooler in transaction mode gives each transaction whichever server connection is free. Prepared statements,
LISTEN, advisory locks and settings stay behind on the one before, where others meet them. In session mode a client
keeps its server connection, as if there were no pooler.
"""

import asyncio
import random
from contextlib import AsyncExitStack, suppress
from typing import Any, Final, TypeAlias, cast

import asyncpg
import structlog

from db.session.connection import Connection
from db.session.failures import UnavailableError

log = structlog.get_logger(__name__)

Plain: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_OTHERS: Final = 2
"""Transactions that are held open meanwhile, so that the server connection just used is not free again.

Poolers give out the connection that was given back last, or first. With one that is taken from the front of a queue
of two, the first transaction gets the wrong one; the second does not.
"""
_ASKED: Final = 4
"""How often the examined connection is asked after each. Once does where the pooler has no other clients."""
_AT_ONCE: Final = 0.2
"""Seconds after which a transaction that has not begun may be waiting for a server connection.

If it waits for `_PATIENCE`, and the examined connection is answered meanwhile, that one has its own.
"""
_PATIENCE: Final = 1.0
"""Seconds that an answer may take while other transactions are held. It may have to wait for theirs."""
_TIMEOUT: Final = 5.0
"""Most seconds to wait for an answer, or for another connection."""
_ROUNDS: Final = 3


class PooledError(UnavailableError):
    """A pooler gives each transaction another server connection."""

    def __init__(self) -> None:
        super().__init__(
            "PostgreSQL is reached through a pooler in transaction mode: connect directly, or use its session mode"
        )


async def get_backend(connection: Connection) -> int:
    """Return the id of the server process that answers a connection.

    By COPY, which is one simple message: a prepared statement may be met on another server connection.
    """
    told = bytearray()

    async def take(data: bytes) -> None:
        told.extend(data)

    await connection.copy_from_query("SELECT pg_catalog.pg_backend_pid()", output=take)
    return int(told)


async def get_pooled(connection: Connection) -> int | None:
    """Return the id of the server process behind a pooler; None if there is no pooler.

    A pooler tells its clients a number of its own at log-in, since their requests to cancel come back to it.
    """
    found = await get_backend(connection)
    return None if found == connection.get_server_pid() else found


async def check(connection: Plain, url: str) -> bool:
    """Check that a connection's transactions all run on one server connection. Return whether a pooler is between.

    Where there is one, other transactions are held open, one after the other, each of which may take the server
    connection that this one has used.

    Args:
        connection: not in a transaction. It is closed if it does not answer in time.
        url: its address.

    Raises:
        PooledError: they run on whichever is free.
        TimeoutError: there was no answer in time.
    """
    own = await get_pooled(connection)
    if own is None:
        return False
    for left in reversed(range(_ROUNDS)):
        try:
            if await _examine(connection, own, url):
                break
        except TimeoutError:
            if not left or connection.is_closed():
                raise
        if left:
            await asyncio.sleep(random.uniform(0, _PATIENCE))  # noqa: S311 - no secret; others may be at it too
    return True


async def _examine(connection: Plain, own: int, url: str) -> bool:
    """Hold other transactions open, and ask whether ``own`` answers still.

    Returns:
        False if no server connection was free for one of them. If that stays so, this one has its own.

    Raises:
        PooledError: another one answers.
        TimeoutError: there was no answer in time.
    """
    async with AsyncExitStack() as held:
        for _ in range(_OTHERS):
            try:
                other = await _beside(connection, url)
            except asyncpg.PostgresError as error:
                if not isinstance(
                    error, asyncpg.TooManyConnectionsError
                ) and "no more connections" not in str(error):
                    raise
                log.warning("it could not be examined what the pooler does", error=str(error))
                return True
            held.callback(other.terminate)
            beginning = asyncio.create_task(_begin(other, held))
            held.push_async_callback(_ended, beginning)
            await asyncio.wait([beginning], timeout=_AT_ONCE)
            for _ in range(round(_PATIENCE / _AT_ONCE)):
                if not beginning.done():
                    await _ask(connection, own, held)
                    await asyncio.wait([beginning], timeout=_AT_ONCE)
            if not beginning.done():
                return False
            if await beginning == own:
                raise PooledError
            for _ in range(_ASKED):
                await _ask(connection, own, held)
    return True


async def _beside(connection: Plain, url: str) -> Plain:
    """Open another connection to the host, of those in the address, that a connection is to."""
    place = cast("Any", connection)._addr  # noqa: SLF001 - there is no public way to it
    host, port = (place, 5432) if isinstance(place, str) else place  # the path of a socket has the port in it
    return await asyncpg.connect(url, host=host, port=port, timeout=_TIMEOUT)


async def _begin(connection: Plain, held: AsyncExitStack) -> int:
    """Begin a transaction that ``held`` ends, and return the id of its server process.

    Raises:
        PooledError: the pooler, in statement mode, knows no transactions.
    """
    try:
        await connection.execute("BEGIN")
        held.push_async_callback(_roll_back, connection)
        return await get_backend(connection)
    except asyncpg.PostgresConnectionError as error:
        if "statement pooling" in str(error):
            raise PooledError from error
        raise


async def _ask(connection: Plain, own: int, held: AsyncExitStack) -> None:
    """Check that ``own`` answers a connection still. If that has to wait, end the transactions that are held.

    Raises:
        PooledError: another one does.
        TimeoutError: it had to wait.
    """
    asking = asyncio.create_task(get_backend(connection))  # not cancelled: PgBouncer would end the connection
    try:
        await asyncio.wait([asking], timeout=_PATIENCE)
        waited = not asking.done()
        if waited:
            await held.aclose()
            await asyncio.wait([asking], timeout=_TIMEOUT)
        if asking.done() and await asking != own:
            raise PooledError
        if waited:
            raise TimeoutError("no answer in time behind a pooler")
    finally:
        if not asking.done():
            connection.terminate()
        await _ended(asking)


async def _ended(task: "asyncio.Task[int]") -> None:
    """Wait for a task on a connection, which may have been terminated. Its error was raised, or does not matter."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()


async def _roll_back(connection: Plain) -> None:
    """End a transaction, without which the pooler would drop the server connection too."""
    with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        async with asyncio.timeout(_PATIENCE):
            await connection.execute("ROLLBACK")
