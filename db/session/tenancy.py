"""The tenant transaction: the only way to a tenant's rows, with the tenant's role in force.

Roles are set for the transaction only, never for the session. A connection that has another role when a
tenant transaction begins is dropped.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import structlog

from db.errors import TenantryError
from db.names import SchemaName, schema_name
from db.session.address import AddressError
from db.session.connection import Connection
from db.session.failures import GONE, NoRoleError, UnavailableError
from db.session.pool import check_backend, open_pool
from db.session.pooler import PooledError
from db.session.statements import Statement

log = structlog.get_logger(__name__)

_ROLLBACK_TIMEOUT: Final = 2.0


class PoisonedError(TenantryError):
    """A pooled connection had another role. It was dropped; the request can safely be repeated."""

    kind = "unavailable"


class LostError(TenantryError):
    """A statement failed and its error was swallowed, so the transaction cannot commit."""


def preamble(schema: SchemaName) -> str:
    """Return the SQL that begins a tenant transaction and sets its role, in one message.

    If the session already has another role, the SQL fails: it sets ``tripwire``, which is no parameter.

    Raises:
        ValueError: ``schema`` is not a tenant schema's name.
    """
    return (
        "BEGIN; SELECT pg_catalog.set_config(CASE WHEN current_user = session_user THEN 'role'"
        f" ELSE 'tripwire' END, '{schema_name(schema)}', true)"
    )


class TenantTransaction:
    """Runs statements in a tenant's schema with the tenant's role. Made by `Database.tenant`."""

    __slots__ = ("_connection", "_failed", "_fresh", "_preamble", "_savepoints", "_schema")

    def __init__(self, connection: Connection, schema: SchemaName, preamble: str) -> None:
        self._connection = connection
        self._schema = schema
        self._preamble = preamble
        self._failed = False
        self._fresh = True  # nothing has run yet
        self._savepoints = 0

    @property
    def failed(self) -> bool:
        """Whether a statement failed, so that PostgreSQL would silently answer COMMIT with ROLLBACK."""
        return self._failed

    async def fetch(self, statement: Statement, **values: Any) -> list[asyncpg.Record]:
        """Run a statement and return its rows."""
        return await self._run(self._connection.fetch, statement, values)  # type: ignore[no-any-return]

    async def fetchrow(self, statement: Statement, **values: Any) -> asyncpg.Record | None:
        """Run a statement and return its first row, or None if it returns no rows."""
        return await self._run(self._connection.fetchrow, statement, values)  # type: ignore[no-any-return]

    async def fetchval(self, statement: Statement, **values: Any) -> Any:
        """Run a statement and return the first value of its first row, or None if it returns no rows."""
        return await self._run(self._connection.fetchval, statement, values)

    async def as_login(self) -> Connection:
        """Return to the login's role, to write to ``shared``. The tenant's rows are out of reach afterwards."""
        self._fresh = False
        await self._connection.execute("SET LOCAL ROLE NONE")
        return self._connection

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undo the block if it raises, so that the transaction can go on.

        Raises:
            LostError: a statement failed, in the block or before it, and its error was swallowed.
        """
        if self._failed:
            raise LostError("a statement of this transaction failed")
        self._fresh = False
        self._savepoints += 1
        name = f"savepoint_{self._savepoints}"
        await self._connection.execute(f"SAVEPOINT {name}")
        try:
            yield
            if self._failed:
                raise LostError("a statement inside the savepoint failed")
            await self._connection.execute(f"RELEASE SAVEPOINT {name}")
        except Exception:
            await self._connection.execute(f"ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}")
            self._failed = False  # rolling back to the savepoint made the transaction usable again
            raise

    async def _run(self, run: Any, statement: Statement, values: dict[str, Any]) -> Any:
        fresh, self._fresh = self._fresh, False
        text, arguments = statement.text(self._schema), statement.arguments(values)
        try:
            try:
                return await run(text, *arguments)
            except asyncpg.InvalidCachedStatementError:
                # A migration changed a result's type after the statement was prepared. asyncpg will prepare
                # it again. If nothing else has run, the transaction can begin again.
                if not fresh:
                    raise
                await self._connection.execute("ROLLBACK")
                await self._connection.execute(self._preamble)
                return await run(text, *arguments)
        except asyncpg.PostgresError as error:
            self._failed = True
            refused = statement.refused(error) if isinstance(error, asyncpg.DataError) else None
            if refused is not None:
                raise refused from None
            raise


class Database:
    """The API's pool of connections, all with the same login.

    Args:
        pool: the pool, as `connect` makes it.
        acquire_timeout: seconds to wait for a connection.
    """

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", *, acquire_timeout: float) -> None:
        self._pool = pool
        self._acquire_timeout = acquire_timeout
        self.refused: PooledError | None = None
        """Why no connection is given out, if none is."""

    @classmethod
    async def connect(cls, url: str, *, size: int, acquire_timeout: float) -> "Database":
        """Open a pool. PostgreSQL need not be running yet.

        Args:
            url: the address of the API's login.
            size: most connections.
            acquire_timeout: seconds to wait for a connection.
        """
        pool = await open_pool(url, size=size, acquire_timeout=acquire_timeout)
        return cls(pool, acquire_timeout=acquire_timeout)

    async def close(self) -> None:
        """Close the connections, and terminate them if that takes more than 5 seconds."""
        try:
            async with asyncio.timeout(5):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    async def refuse(self, error: PooledError) -> None:
        """Give out no connection until `accept`, and close those that there are."""
        if self.refused is None:
            log.error("requests are refused", error=str(error))
            self.refused = error
            await self._pool.expire_connections()

    async def accept(self) -> None:
        """Give out connections again: new ones, as nobody knows what became of the others."""
        if self.refused is not None:
            log.info("requests are served again")
            await self._pool.expire_connections()
            self.refused = None

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
        beginning = preamble(schema)
        async with self._connection() as connection:
            try:
                await connection.execute(beginning)
                await check_backend(connection)
            except (asyncpg.UndefinedObjectError, asyncpg.InsufficientPrivilegeError) as error:
                connection.terminate()
                log.error("poisoned connection dropped", sqlstate=error.sqlstate)
                raise PoisonedError("a connection carried another role") from error
            except asyncpg.InvalidParameterValueError as error:
                connection.terminate()
                raise NoRoleError("the tenant has no role") from error
            except BaseException:
                connection.terminate()
                raise
            transaction = TenantTransaction(connection, schema, beginning)
            try:
                yield transaction
                if transaction.failed:
                    raise LostError("a statement of this transaction failed")
                # PostgreSQL answers ROLLBACK if a statement failed whose error did not reach this object.
                if await connection.execute("COMMIT") != "COMMIT":
                    raise LostError("a statement of this transaction failed")
            except Exception:
                await _roll_back(connection)
                raise
            except BaseException:
                connection.terminate()  # cancelled: a statement may still be running on it
                raise

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[Connection]:
        """Open a transaction with the login's own role, which reaches ``shared`` but no tenant.

        Raises:
            UnavailableError: no connection was available in time, or the connection was lost.
            PooledError: a pooler gives each transaction another server connection.
        """
        async with self._connection() as connection, connection.transaction():
            await check_backend(connection)
            yield connection

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        if self.refused is not None:
            raise PooledError from self.refused
        try:
            connection = await self._pool.acquire(timeout=self._acquire_timeout)
        except (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError) as error:
            raise UnavailableError(str(error) or type(error).__name__) from error
        except (asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError) as error:
            raise UnavailableError(str(error)) from error
        except AddressError as error:
            raise UnavailableError(str(error)) from error
        try:
            yield connection
        except PooledError as error:
            await self.refuse(error)
            raise
        except GONE as error:
            if isinstance(error, asyncpg.QueryCanceledError):
                raise
            raise UnavailableError(str(error)) from error
        finally:
            try:
                await self._pool.release(connection, timeout=_ROLLBACK_TIMEOUT)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                # The transaction has already ended, and the pool has dropped the connection.
                log.warning("connection dropped on release", error=repr(error))


async def _roll_back(connection: Connection) -> None:
    try:
        async with asyncio.timeout(_ROLLBACK_TIMEOUT):
            await connection.execute("ROLLBACK")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        connection.terminate()
    except BaseException:
        connection.terminate()  # cancelled while rolling back: its state is unknown
        raise
