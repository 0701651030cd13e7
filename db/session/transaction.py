"""Tenant transactions: how statements are run in a tenant's schema with the tenant's role in force.

Roles are set for the transaction only, never for the session. A connection that has another role when a tenant
transaction begins is dropped.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import structlog

from db.errors import TenantryError
from db.names import SchemaName, schema_name
from db.session import pooler
from db.session.connection import Connection
from db.session.failures import NoRoleError
from db.session.link import How, Link, role
from db.session.pooler import PooledError
from db.session.statements import Statement
from db.session.wire import parsed_and_executed

log = structlog.get_logger(__name__)

_BEGIN: Final = parsed_and_executed("BEGIN")
_AS_LOGIN: Final = parsed_and_executed("SET LOCAL ROLE NONE")
_COMMIT: Final = parsed_and_executed("COMMIT")

AMBIGUOUS: Final = (
    asyncpg.UndefinedObjectError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.InvalidParameterValueError,
    asyncpg.InvalidCachedStatementError,
)
"""Errors of a role and a statement in one message that do not tell which of them failed, or that pass by themselves.

Nothing of the message has lasted, so both are run again, one after the other.
"""


class PoisonedError(TenantryError):
    """A pooled connection had another role. It was dropped; the request can safely be repeated."""

    kind = "unavailable"


class LostError(TenantryError):
    """A statement failed and its error was swallowed, so the transaction cannot commit."""

    def __init__(self) -> None:
        super().__init__("a statement of this transaction failed")


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


class Reads(ABC):
    """Runs statements in a tenant's schema with the tenant's role."""

    __slots__ = ("_schema",)

    def __init__(self, schema: SchemaName) -> None:
        self._schema = schema

    async def fetch(self, statement: Statement, **values: Any) -> list[asyncpg.Record]:
        """Run a statement and return its rows."""
        return await self._run("fetch", statement, values)  # type: ignore[no-any-return]

    async def fetchrow(self, statement: Statement, **values: Any) -> asyncpg.Record | None:
        """Run a statement and return its first row, or None if it returns no rows."""
        return await self._run("fetchrow", statement, values)  # type: ignore[no-any-return]

    async def fetchval(self, statement: Statement, **values: Any) -> Any:
        """Run a statement and return the first value of its first row, or None if it returns no rows."""
        row = await self._run("fetchrow", statement, values)
        return None if row is None else row[0]

    async def _run(self, how: How, statement: Statement, values: dict[str, Any]) -> Any:
        text, arguments = statement.text(self._schema), statement.arguments(values)
        try:
            return await self.run_text(how, text, arguments)
        except asyncpg.DataError as error:
            refused = statement.refused(error)
            if refused is not None:
                raise refused from None
            raise

    @abstractmethod
    async def run_text(self, how: How, text: str, arguments: list[Any]) -> Any:
        """Run SQL of a statement; `fetch` and `fetchrow` are by this."""


class TenantTransaction(Reads):
    """Runs statements in one transaction, which begins with the first. Made by `Database.tenant`.

    Args:
        link: the connection, in no transaction.
        schema: the tenant's schema.
    """

    __slots__ = ("_begun", "_failed", "_link", "_open", "_savepoints")

    def __init__(self, link: Link, schema: SchemaName) -> None:
        super().__init__(schema)
        self._link = link
        self._open = True
        self._begun = False
        self._failed = False
        """Whether a statement failed, so that PostgreSQL would silently answer COMMIT with ROLLBACK."""
        self._savepoints = 0

    async def begin(self) -> None:
        """Begin now, in a message of its own, if nothing has run yet."""
        self._check_open()
        if not self._begun:
            self._begun = True
            await begin(self._link, self._schema)

    async def as_login(self) -> Connection:
        """Return to the login's role, to write to ``shared``. The tenant's rows are out of reach afterwards."""
        await self.begin()
        connection = self._link.lend()
        await connection.execute("SET LOCAL ROLE NONE")
        return connection

    async def conclude(self, text: str, *arguments: Any) -> None:
        """Run a last statement with the login's role, and commit, in one message where that can be.

        Args:
            text: the statement's SQL; it returns nothing.
            arguments: its arguments.

        Raises:
            LostError: a statement failed, and its error was swallowed.
        """
        if self._failed:
            raise LostError
        await self.begin()
        try:
            if self._link.takes(text):
                status = await self._link.conclude(text, [*arguments], before=_AS_LOGIN, after=_COMMIT)
            else:
                await self._link.connection.execute("SET LOCAL ROLE NONE")
                await self._link.run("fetch", text, [*arguments])
                status = await self._link.connection.execute("COMMIT")
        except asyncpg.InFailedSQLTransactionError:
            raise LostError from None
        self._over(status)

    async def commit(self) -> None:
        """Commit, unless `conclude` has.

        Raises:
            LostError: a statement failed, and its error was swallowed.
        """
        if not self._open:
            return
        if self._failed:
            raise LostError
        self._over(await self._link.connection.execute("COMMIT") if self._begun else "COMMIT")

    def close(self) -> None:
        """Run nothing any more: the connection will be another transaction's."""
        self._open = False

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undo the block if it raises, so that the transaction can go on.

        Raises:
            LostError: a statement failed, in the block or before it, and its error was swallowed.
        """
        if self._failed:
            raise LostError
        await self.begin()
        execute = self._link.connection.execute
        self._savepoints += 1
        name = f"savepoint_{self._savepoints}"
        await execute(f"SAVEPOINT {name}")
        try:
            yield
            if self._failed:
                raise LostError
            await execute(f"RELEASE SAVEPOINT {name}")
        except Exception:
            await execute(f"ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}")
            self._failed = False  # rolling back to the savepoint made the transaction usable again
            raise

    async def run_text(self, how: How, text: str, arguments: list[Any]) -> Any:
        self._check_open()
        try:
            if self._begun:
                return await self._link.run(how, text, arguments)
            return await self._run_first(how, text, arguments)
        except asyncpg.PostgresError:
            self._failed = True
            raise

    async def _run_first(self, how: How, text: str, arguments: list[Any]) -> Any:
        """Begin, and run a statement. If that fails by an error that is `AMBIGUOUS`, do so again in two messages."""
        self._begun = True
        try:
            if self._link.takes(text):
                return await self._link.run(how, text, arguments, before=_BEGIN + role(self._schema))
            await begin(self._link, self._schema)
            return await self._link.run(how, text, arguments)
        except AMBIGUOUS:
            await self._link.connection.execute("ROLLBACK")
        await begin(self._link, self._schema)
        return await self._link.run(how, text, arguments)

    def _check_open(self) -> None:
        if not self._open:
            raise asyncpg.InterfaceError("the transaction is over")

    def _over(self, status: str | None) -> None:
        self._open = False
        # PostgreSQL answers ROLLBACK if a statement failed whose error did not reach this object.
        if status != "COMMIT":
            raise LostError


async def begin(link: Link, schema: SchemaName) -> None:
    """Begin a transaction with a tenant's role.

    Raises:
        NoRoleError: the tenant was purged.
        PoisonedError: the connection had another role; it was dropped.
        PooledError: a pooler gives each transaction another server connection.
    """
    try:
        await link.connection.execute(preamble(schema))
        await check_backend(link)
    except (asyncpg.UndefinedObjectError, asyncpg.InsufficientPrivilegeError) as error:
        link.terminate()
        log.error("poisoned connection dropped", sqlstate=error.sqlstate)
        raise PoisonedError("a connection carried another role") from error
    except asyncpg.InvalidParameterValueError as error:
        link.terminate()
        raise NoRoleError("the tenant has no role") from error


async def check_backend(link: Link) -> None:
    """Check that a transaction runs on the server process that a connection began with. Costs nothing without pooler.

    Args:
        link: the connection, in a transaction.

    Raises:
        PooledError: it is another one, which others' prepared statements may be on.
    """
    if link.backend is not None and await pooler.get_backend(link.connection) != link.backend:
        raise PooledError
