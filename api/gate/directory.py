"""The directory: identities of tokens and hosts, remembered for a short time.

Every worker forgets all of them when what it remembers may have changed (LISTEN/NOTIFY with an empty payload). While
a worker is not listening, it remembers nothing and asks PostgreSQL each time.
"""

import asyncio
import time
from contextlib import suppress
from typing import Final
from uuid import UUID

from db.session import listening
from db.session.listening import Listener
from db.session.tenancy import Database
from db.tenants import identities
from db.tenants.identities import Identity
from db.tenants.tokens import Token

_CAPACITY: Final = 50_000


class Directory:
    """Identities that are remembered.

    Args:
        database: the API's connections.
        url: address of the API's login, for the directory's own listening connection.
        ttl: seconds until an identity is forgotten.
    """

    def __init__(self, database: Database, url: str, *, ttl: float) -> None:
        self._database = database
        self._ttl = ttl
        self._known: dict[tuple[bytes, str | None], tuple[float, Identity]] = {}
        self._generation = 0
        self._changed = asyncio.Event()
        heard = {listening.REGISTRY: self.forget, listening.PROGRESS: self._tell}
        self._listener = Listener(url, heard, probe=ttl)

    async def identity(self, token: Token, host: str | None) -> Identity | None:
        """Return what a token stands for, and where a host leads; None if the token is not valid.

        Tenants that are not active are asked for each time, so that one can be used as soon as it becomes active.
        """
        key = (token.hash, host)
        found = self._known.get(key)
        if found is not None and found[0] > time.monotonic():
            return found[1]
        generation = self._generation
        identity = await identities.get(self._database.looks(), token, host)
        if identity is None or (identity.tenant is not None and identity.tenant.status != "active"):
            return identity
        # Not remembered if a change was heard during the look-up: the identity may be the old one.
        if self._listener.listening and generation == self._generation:
            if len(self._known) >= _CAPACITY:
                self._known.clear()
            self._known[key] = (time.monotonic() + self._ttl, identity)
        return identity

    async def run(self) -> None:
        """Listen for changes until cancelled."""
        await self._listener.run()

    def forget(self) -> None:
        """Forget all. Call this after a change made in this process; NOTIFY tells the other processes."""
        self._generation += 1
        self._known.clear()
        self._tell()

    def forget_tenant(self, tenant_id: UUID) -> None:
        """Forget a tenant's identities, because its schema was found to be another than they say."""
        for key, (_, identity) in list(self._known.items()):
            if identity.tenant is not None and identity.tenant.id == tenant_id:
                del self._known[key]

    async def change(self, *, within: float) -> None:
        """Wait until a tenant has changed, or what is remembered.

        Args:
            within: seconds to wait at most; the method then returns all the same.
        """
        changed = self._changed
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
