"""The warmer: makes ahead what can be, below everything that somebody waits for.

That is the warm pool, and once after the start the structures of revisions, by which drift is found.
"""

import asyncio
import time
from typing import Final

import asyncpg
import structlog
from asyncpg import Pool

from db.errors import TenantryError
from db.migrations import structures, warm_pool
from db.migrations.lineage import Lineage
from db.session.connection import Connection
from provisioner import failures

log = structlog.get_logger(__name__)

_IDLE: Final = 0.5
"""Seconds between two looks."""
_OFF: Final = 10.0
"""Seconds until what is left of a pool is dropped where there is to be none, and between two looks then."""
_FAILED: Final = 10.0
"""Seconds until the next look after a failure."""


class Warmer:
    """Adds schemas to the warm pool, one at a time, and stores structures. Several warmers take turns.

    Args:
        pool: the owner's connections.
        lineage: the tenants' lineage.
        size: how many schemas there are to be in the pool.
    """

    def __init__(self, pool: Pool, lineage: Lineage, *, size: int) -> None:
        self._pool = pool
        self._lineage = lineage
        self._size = size
        self._stored = False
        self._refill_at = time.monotonic() + (0.0 if size else _OFF)

    async def run(self) -> None:
        """Work until cancelled. A failure is logged: sign-ups then build on demand."""
        while True:
            wait = _IDLE if self._size or not self._stored else _OFF
            try:
                async with self._pool.acquire() as connection:
                    await self._look(connection)
            except (*failures.AWAY, asyncpg.PostgresError, TenantryError, TimeoutError) as error:
                log.warning("nothing was made ahead", error=repr(error))
                wait = _FAILED
            await asyncio.sleep(wait)

    async def _look(self, connection: Connection) -> None:
        if not self._stored and not await warm_pool.is_awaited(connection):
            await structures.store(connection, self._lineage)
            self._stored = True
        if time.monotonic() >= self._refill_at:
            while await warm_pool.refill(connection, self._lineage, size=self._size):
                pass
