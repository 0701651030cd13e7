"""The API's connections, and the only ways to rows: a tenant's with the tenant's role, ``shared`` with the login's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import asyncpg
import structlog

from db.names import SchemaName, schema_name
from db.session.address import AddressError
from db.session.connection import Connection, Looks
from db.session.failures import GONE, UnavailableError
from db.session.link import How, Link, role
from db.session.pool import Pool
from db.session.pooler import PooledError
from db.session.transaction import AMBIGUOUS, Reads, TenantTransaction, check_backend

log = structlog.get_logger(__name__)

_PATIENCE: Final = 2.0
"""Seconds that a rollback may take."""
_LOGIN: Final = "shared"
"""The name by which transactions without a tenant take turns with those of tenants."""


class Database:
    """The API's connections, all with the same login.

    Args:
        pool: the pool, as `connect` makes it.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.refused: PooledError | None = None
        """Why no connection is given out, if none is."""

    @classmethod
    async def connect(
        cls, url: str, *, size: int, acquire_timeout: float, memory: int = 1 << 27, pipeline: bool = True
    ) -> "Database":
        """Make a pool. PostgreSQL need not be running yet.

        Args:
            url: the address of the API's login.
            size: most connections.
            acquire_timeout: seconds to wait for a connection.
            memory: bytes that a connection's server process may take before it is replaced.
            pipeline: whether a tenant's role and its statement may go in one message.
        """
        opened = partial(Link.open, url, pipeline=pipeline)
        return cls(Pool(opened, size=size, memory=memory, patience=acquire_timeout))

    async def close(self) -> None:
        """Close the connections, and terminate them if that takes more than 5 seconds."""
        try:
            async with asyncio.timeout(5):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    def refuse(self, error: PooledError) -> None:
        """Give out no connection until `accept`, and close those that there are."""
        if self.refused is None:
            log.error("requests are refused", error=str(error))
            self.refused = error
            self._pool.expire()

    def accept(self) -> None:
        """Give out connections again: new ones, as nobody knows what became of the others."""
        if self.refused is not None:
            log.info("requests are served again")
            self._pool.expire()
            self.refused = None

    def reads(self, schema: SchemaName) -> Reads:
        """Return what runs statements that change nothing in a tenant's schema, each in a transaction of its own.

        Statements raise what `tenant` does.

        Args:
            schema: the tenant's schema.
        """
        return _TenantReads(self, schema)

    def looks(self) -> Looks:
        """Return what runs statements with the login's own role, each in a transaction of its own.

        Statements raise what `shared` does.
        """
        return _LoginReads(self)

    @asynccontextmanager
    async def tenant(self, schema: SchemaName) -> AsyncIterator[TenantTransaction]:
        """Open a tenant transaction. It commits at the end, and rolls back on any exception.

        Args:
            schema: the tenant's schema.

        Raises:
            UnavailableError: no connection was available in time, or the connection was lost.
            NoRoleError: the tenant was purged.
            PoisonedError: the connection had another role.
            LostError: a statement failed and its error was swallowed.
            PooledError: a pooler gives each transaction another server connection.
        """
        async with self.link(schema_name(schema)) as link:
            transaction = TenantTransaction(link, schema)
            try:
                yield transaction
                await transaction.commit()
            finally:
                transaction.close()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[Connection]:
        """Open a transaction with the login's own role, which reaches ``shared`` but no tenant.

        Raises:
            UnavailableError: no connection was available in time, or the connection was lost.
            PooledError: a pooler gives each transaction another server connection.
        """
        async with self.link(_LOGIN) as link, link.lend().transaction():
            await check_backend(link)
            yield link.lend()

    @asynccontextmanager
    async def link(self, whose: str) -> AsyncIterator[Link]:
        """Take a connection for a while. What is not committed at the end is rolled back.

        Args:
            whose: the tenant's schema, or another name that takes turns with tenants.

        Raises:
            UnavailableError: none was available in time, or it was lost.
            PooledError: a pooler gives each transaction another server connection.
        """
        link = await self.take(whose)
        try:
            yield link
        except Exception as error:
            await _roll_back(link)
            if (lost := self.lost(error)) is not None:
                raise lost from error
            raise
        except BaseException:
            link.terminate()  # cancelled: a statement may still be running on it
            raise
        finally:
            self.give(link, whose)

    def take_free(self, whose: str) -> Link | None:
        """Take a connection that is free, to be given back by `give`; None if there is none.

        Raises:
            PooledError: a pooler gives each transaction another server connection.
        """
        if self.refused is not None:
            raise PooledError from self.refused
        return self._pool.take_free(whose)

    async def take(self, whose: str) -> Link:
        """Take a connection, to be given back by `give`.

        Args:
            whose: the tenant's schema, or another name that takes turns with tenants.

        Raises:
            UnavailableError: none was available in time.
            PooledError: a pooler gives each transaction another server connection.
        """
        link = self.take_free(whose)
        if link is not None:
            return link
        try:
            return await self._pool.take(whose)
        except _NO_CONNECTION as error:
            raise UnavailableError(str(error) or type(error).__name__) from error

    def give(self, link: Link, whose: str) -> None:
        """Give a connection back, in no transaction or closed."""
        link.take_back()
        self._pool.give(link, whose)

    def lost(self, error: Exception) -> UnavailableError | None:
        """Return what an error means if it tells that a connection was lost; None if it does not.

        If a pooler is the cause, no connection is given out any more.
        """
        if isinstance(error, PooledError):
            self.refuse(error)
        elif isinstance(error, GONE) and not isinstance(error, asyncpg.QueryCanceledError):
            return UnavailableError(str(error))
        return None


class _LoginReads:
    """Runs each statement in a transaction of its own, on whichever connection is free."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def fetchrow(self, query: str, /, *args: Any) -> Any:
        async with self._database.link(_LOGIN) as link:
            if link.backend is not None:  # a pooler is between
                async with link.lend().transaction():
                    await check_backend(link)
                    return await link.lend().fetchrow(query, *args)
            try:
                return await link.run("fetchrow", query, [*args])
            except asyncpg.InvalidCachedStatementError:  # a migration has changed its result
                return await link.run("fetchrow", query, [*args])

    async def fetchval(self, query: str, /, *args: Any) -> Any:
        row = await self.fetchrow(query, *args)
        return None if row is None else row[0]


class _TenantReads(Reads):
    """Runs each statement in a transaction of its own, on whichever connection is free."""

    __slots__ = ("_database",)

    def __init__(self, database: Database, schema: SchemaName) -> None:
        super().__init__(schema)
        self._database = database

    async def run_text(self, how: How, text: str, arguments: list[Any]) -> Any:
        database, schema = self._database, self._schema
        link = database.take_free(schema) or await database.take(schema)
        try:
            if link.takes(text):
                try:
                    return await link.run(how, text, arguments, before=role(schema))
                except AMBIGUOUS:
                    pass  # the message was a transaction of its own, and nothing of it has lasted
            transaction = TenantTransaction(link, schema)
            found = await transaction.run_text(how, text, arguments)
            await transaction.commit()
        except Exception as error:
            await _roll_back(link)
            if (lost := database.lost(error)) is not None:
                raise lost from error
            raise
        except BaseException:
            link.terminate()  # cancelled: the statement may still be running on it
            raise
        else:
            return found
        finally:
            database.give(link, schema)


_NO_CONNECTION: Final = (
    OSError,  # of which TimeoutError is one
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    AddressError,
)


async def _roll_back(link: Link) -> None:
    """End the transaction, if there is one."""
    if link.connection.is_closed() or not link.connection.is_in_transaction():
        return
    try:
        async with asyncio.timeout(_PATIENCE):
            await link.connection.execute("ROLLBACK")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        link.terminate()
    except BaseException:
        link.terminate()  # cancelled while rolling back: its state is unknown
        raise
