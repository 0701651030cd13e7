"""The link: a connection of the API's pool, with the statements that it has prepared.

A statement that is prepared can be run together with what sets the tenant's role, or with what ends the transaction,
in one message. Such a message is one round trip, and one transaction where it holds no BEGIN.
"""

import asyncio
import time
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from asyncpg.prepared_stmt import PreparedStatement

from db.names import SchemaName, schema_name
from db.session import address, pooler
from db.session.connection import EXTENSIONS, Connection
from db.session.wire import Wire, WiredLoop, executed

How: TypeAlias = Literal["fetch", "fetchrow"]

STATEMENTS: Final = 2000
"""Most statements that a connection keeps prepared; those used last stay."""

_PREPARE_ROLE: Final = (
    "PREPARE tenantry_role (text) AS SELECT 1 WHERE pg_catalog.set_config("
    "CASE WHEN current_user = session_user THEN 'role' ELSE 'tripwire' END, $1, true) IS NULL"
)
_RESET: Final = "RESET ROLE; RESET ALL; CLOSE ALL; UNLISTEN *; SELECT pg_catalog.pg_advisory_unlock_all()"
_HARDENED: Final = """
SELECT NOT pg_catalog.has_function_privilege('public', 'pg_catalog.set_config(text, text, boolean)', 'EXECUTE')
"""
_MEMORY: Final = "SELECT sum(total_bytes)::bigint FROM pg_catalog.pg_get_backend_memory_contexts()"


@lru_cache(maxsize=65536)
def role(schema: SchemaName) -> bytes:
    """Return the messages that set a tenant's role for the transaction, as `preamble` does.

    Raises:
        ValueError: ``schema`` is not a tenant schema's name.
    """
    return executed("tenantry_role", schema_name(schema))


class Link:
    """A connection of the API's login. Made by `open`.

    Args:
        connection: asyncpg's.
        wire: its transport, if messages may be added to a statement.
        backend: the id of the server process behind a pooler; None without one.
        hardened: whether nothing of a session can be changed under a tenant's role.
    """

    def __init__(
        self, connection: pooler.Plain, wire: Wire | None, *, backend: int | None, hardened: bool
    ) -> None:
        self.connection = connection
        self.backend = backend
        self.idle_since = time.monotonic()
        self.epoch = 0
        self.runs = 0
        """The number of statements that it has run."""
        self.looked_at = 0
        """What `runs` was when its memory was looked at."""
        self._wire = wire
        self._hardened = hardened
        self._to_reset = False
        self._lent: PoolConnectionProxy[asyncpg.Record] | None = None
        self._statements: dict[str, PreparedStatement[asyncpg.Record]] = {}

    @classmethod
    async def open(cls, url: str, *, pipeline: bool) -> "Link":
        """Open a connection.

        Args:
            url: the address of the API's login.
            pipeline: whether messages may be added to a statement. Behind a pooler they never are.
        """
        loop: Any = asyncio.get_running_loop()
        connection: Any = await address.open_connection(
            url,
            loop=WiredLoop(loop) if pipeline else loop,
            # As bootstrap sets it on the login; a database that was bootstrapped before does not have it.
            server_settings={"search_path": EXTENSIONS},
        )
        try:
            # Keeps asyncpg from switching JIT off and on around type look-ups, which a tenant's role must not do.
            connection._server_caps = connection._server_caps._replace(jit=False)  # noqa: SLF001
            backend = await pooler.get_pooled(connection)
            hardened = await connection.fetchval(_HARDENED)
            if not pipeline or backend is not None:
                return cls(connection, None, backend=backend, hardened=hardened)
            await connection.execute(_PREPARE_ROLE)
            wire: Wire = connection._transport  # noqa: SLF001 - there is no public way to it
            return cls(connection, wire, backend=None, hardened=hardened)
        except BaseException:
            connection.terminate()
            raise

    @property
    def is_sound(self) -> bool:
        """Whether the connection is open, and in no transaction."""
        return not self.connection.is_closed() and not self.connection.is_in_transaction()

    def takes(self, text: str) -> bool:
        """Return whether messages may be added to a statement: it is prepared already."""
        return self._wire is not None and text in self._statements

    async def run(
        self, how: How, text: str, arguments: list[Any], *, before: bytes = b"", after: bytes = b""
    ) -> Any:
        """Run a statement, which stays prepared.

        Args:
            how: what of its result to return.
            text: its SQL.
            arguments: its arguments.
            before: messages to run before it in the same round trip, if `takes` says so.
            after: messages to run after it.
        """
        self.runs += 1
        statement = self._statements.pop(text, None) or await self._prepared(text)
        self._statements[text] = statement  # the last one is the one used last
        try:
            if self._wire is None or not (before or after):
                return await getattr(statement, how)(*arguments)
            self._wire.arm(before, after)
            try:
                return await getattr(statement, how)(*arguments)
            finally:
                self._wire.disarm()
        except (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError):
            self._statements.pop(text, None)
            raise

    async def conclude(self, text: str, arguments: list[Any], *, before: bytes, after: bytes) -> str | None:
        """Run a statement without a result, as `run` does; return the status of what ran last."""
        await self.run("fetch", text, arguments, before=before, after=after)
        return self._statements[text].get_statusmsg()

    async def _prepared(self, text: str) -> "PreparedStatement[asyncpg.Record]":
        if len(self._statements) >= STATEMENTS:
            del self._statements[next(iter(self._statements))]  # asyncpg then closes it
        return await self.connection.prepare(text)

    def lend(self) -> Connection:
        """Return the connection to run anything on, until `take_back`. After that, it needs a reset."""
        if self._lent is None:
            self._lent = PoolConnectionProxy(None, self.connection)  # type: ignore[arg-type]
            self._to_reset = True
        return self._lent

    def take_back(self) -> None:
        """End `lend`: who still has the connection cannot use it any more."""
        if self._lent is not None:
            lent: Any = self._lent
            lent._detach()  # noqa: SLF001 - as asyncpg's own pool does
            self._lent = None

    @property
    def needs_reset(self) -> bool:
        """Whether something may have been left on the session since the last reset."""
        return self._to_reset or not self._hardened

    async def reset(self) -> None:
        """Take from the session what may have been left on it. asyncpg's own reset would keep the role."""
        await self.connection.execute(_RESET)
        self._to_reset = False

    async def memory(self) -> int | None:
        """Return the bytes that the server process has taken; None if the login may not ask."""
        try:
            return int(await self.connection.fetchval(_MEMORY))
        except asyncpg.InsufficientPrivilegeError:
            return None

    def terminate(self) -> None:
        """Close the connection at once."""
        self.take_back()
        self._statements.clear()
        self.connection.terminate()

    async def close(self) -> None:
        """Close the connection."""
        self.take_back()
        self._statements.clear()
        await self.connection.close()
