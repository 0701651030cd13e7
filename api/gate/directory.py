"""The directory: look-ups of tokens, tenants and hosts, cached for a short time.

Every worker clears its whole cache when a row changes (LISTEN/NOTIFY with an empty payload). While a worker
is not listening, it caches nothing and asks PostgreSQL each time.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar
from uuid import UUID

from db.session import listening
from db.session.connection import Connection
from db.session.listening import Listener
from db.session.tenancy import Database
from db.tenants import hosts, registry, tokens
from db.tenants.registry import Tenant
from db.tenants.tokens import Principal, Token

T = TypeVar("T")

_CAPACITY: Final = 50_000


class Directory:
    """Cached look-ups.

    Args:
        database: the API's connections.
        url: address of the API's login, for the directory's own listening connection.
        ttl: seconds until an entry expires.
    """

    def __init__(self, database: Database, url: str, *, ttl: float) -> None:
        self._database = database
        self._ttl = ttl
        self._entries: dict[Any, tuple[float, Any]] = {}
        self._generation = 0
        self._changed = asyncio.Event()
        self._listener = Listener(url, listening.REGISTRY, self.forget, probe=ttl)

    async def principal(self, token: Token) -> Principal | None:
        """Return what a token stands for, or None if the token is not valid."""
        return await self._cached(token.hash, lambda connection: tokens.verify(connection, token))

    async def tenant(self, tenant_id: UUID) -> Tenant | None:
        """Return the tenant with this id, or None if there is none.

        Only active tenants are cached, so that a tenant can be used as soon as it becomes active.
        """
        return await self._cached(
            tenant_id,
            lambda connection: registry.get(connection, tenant_id),
            keep=lambda found: found is not None and found.status == "active",
        )

    async def tenant_of_host(self, host: str) -> UUID | None:
        """Return the id of the tenant that a host leads to, or None if the host leads to no tenant."""
        return await self._cached(
            ("host", host), lambda connection: hosts.get_tenant(connection, host), keep=lambda _: True
        )

    async def run(self) -> None:
        """Listen for changes until cancelled."""
        await self._listener.run()

    def forget(self) -> None:
        """Clear the cache. Call this after a change made in this process; NOTIFY tells the other processes."""
        self._generation += 1
        self._entries.clear()
        self._changed.set()
        self._changed = asyncio.Event()

    def forget_tenant(self, tenant_id: UUID) -> None:
        """Drop a tenant's entry, because its schema was found to be another than the entry says."""
        self._entries.pop(tenant_id, None)

    async def change(self, *, within: float) -> None:
        """Wait until the cache is cleared, because a row may have changed.

        Args:
            within: seconds to wait at most; the method then returns all the same.
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
        # Not cached if a change was heard during the look-up: the value may be the old one.
        if self._listener.listening and generation == self._generation and keep(value):
            if len(self._entries) >= _CAPACITY:
                self._entries.clear()
            self._entries[key] = (now + self._ttl, value)
        return value
