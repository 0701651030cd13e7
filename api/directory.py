"""The directory: who a token is, and which tenant a slug or host means, remembered for a moment.

Every worker forgets all of it at once when a row changes (LISTEN/NOTIFY, empty payload), and asks
PostgreSQL each time while it cannot hear.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg
import structlog

from db import registry, tokens
from db.connection import Connection
from db.registry import Tenant
from db.tenancy import Database
from db.tokens import Grant, Token

log = structlog.get_logger(__name__)

T = TypeVar("T")

_CAPACITY: Final = 50_000
_RECONNECT: Final = 0.5


class Directory:
    """Cached look-ups.

    Args:
        database: the API's.
        url: the API's login, for a listening connection of its own.
        ttl: seconds an entry is believed at most.
    """

    def __init__(self, database: Database, url: str, *, ttl: float) -> None:
        self._database = database
        self._url = url
        self._ttl = ttl
        self._entries: dict[Any, tuple[float, Any]] = {}
        self._generation = 0
        self._changed = asyncio.Event()
        self._listening = False

    async def grant(self, token: Token) -> Grant | None:
        """Return what a token allows now; None where it allows nothing."""
        return await self._cached(token.hash, lambda connection: tokens.grant(connection, token))

    async def tenant(self, tenant_id: UUID) -> Tenant | None:
        """Return the tenant of an id.

        One that is not active is asked for each time: whoever saw it become active can use it at once.
        """
        return await self._cached(
            tenant_id,
            lambda connection: registry.get(connection, tenant_id),
            keep=lambda found: found is not None and found.status == "active",
        )

    async def tenant_of_host(self, host: str) -> UUID | None:
        """Return the id of the tenant that a host leads to."""

        async def look_up(connection: Connection) -> UUID | None:
            return await connection.fetchval(  # type: ignore[no-any-return]
                "SELECT tenant_id FROM shared.tenant_hosts WHERE host = $1", host
            )

        return await self._cached(("host", host), look_up, keep=lambda _: True)

    async def run(self) -> None:
        """Listen for changes until cancelled."""
        while True:
            try:
                await self._listen()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("not listening for changes", error=repr(error))
            self._listening = False
            self.forget()
            await asyncio.sleep(_RECONNECT)

    async def _listen(self) -> None:
        connection = await asyncpg.connect(self._url, timeout=5)
        try:
            gone = asyncio.Event()
            connection.add_termination_listener(lambda *_: gone.set())
            await connection.add_listener(registry.CHANNEL, lambda *_: self.forget())
            self.forget()
            self._listening = True
            while not gone.is_set():
                # A half-open connection says nothing: ask it now and then.
                await connection.execute("SELECT 1", timeout=5)
                try:
                    async with asyncio.timeout(self._ttl):
                        await gone.wait()
                except TimeoutError:
                    pass
        finally:
            self._listening = False
            connection.terminate()

    def forget(self) -> None:
        """Forget all of it: to be called after a change of one's own, which NOTIFY tells the others."""
        self._generation += 1
        self._entries.clear()
        self._changed.set()
        self._changed = asyncio.Event()

    async def change(self, *, within: float) -> None:
        """Wait until something may have changed.

        Args:
            within: seconds at most.
        """
        changed = self._changed
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await changed.wait()

    async def _cached(
        self,
        key: Any,
        look_up: Callable[[Connection], Awaitable[T | None]],
        *,
        keep: Callable[[T | None], bool] = lambda found: found is not None,
    ) -> T | None:
        now = time.monotonic()
        entry = self._entries.get(key)
        if entry is not None and entry[0] > now:
            value: T | None = entry[1]
            return value
        generation = self._generation
        async with self._database.shared() as connection:
            value = await look_up(connection)
        # Not kept where something changed meanwhile, since it may be what changed.
        if self._listening and generation == self._generation and keep(value):
            if len(self._entries) >= _CAPACITY:
                self._entries.clear()
            self._entries[key] = (now + self._ttl, value)
        return value
