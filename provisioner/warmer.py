"""The warmer: keeps the warm pool full, below everything that somebody waits for."""

import asyncio
from typing import Final

import asyncpg
import structlog
from asyncpg import Pool

from db.errors import TenantryError
from db.migrations import warm_pool
from db.migrations.lineage import Lineage
from provisioner import failures

log = structlog.get_logger(__name__)

_IDLE: Final = 0.5
"""Seconds between two looks."""
_OFF: Final = 10.0
"""Seconds between two looks where there is to be no pool."""
_FAILED: Final = 10.0
"""Seconds until the next look after a failure."""


class Warmer:
    """Adds schemas to the warm pool, one at a time. Several warmers take turns.

    Args:
        pool: the owner's connections.
        lineage: the tenants' lineage.
        size: how many schemas there are to be.
    """

    def __init__(self, pool: Pool, lineage: Lineage, *, size: int) -> None:
        self._pool = pool
        self._lineage = lineage
        self._size = size

    async def run(self) -> None:
        """Keep the pool full until cancelled. A failure is logged: sign-ups then build on demand."""
        wait = 0.0 if self._size else _OFF
        while True:
            await asyncio.sleep(wait)
            wait = _IDLE if self._size else _OFF
            try:
                async with self._pool.acquire() as connection:
                    while await warm_pool.refill(connection, self._lineage, size=self._size):
                        pass
            except (*failures.AWAY, asyncpg.PostgresError, TenantryError, TimeoutError) as error:
                log.warning("warm pool not refilled", error=repr(error))
                wait = _FAILED
