"""The replayer: works off the bulk replays that operators begin. Several take turns and keep to the rate."""

import asyncio

import asyncpg
import structlog
from asyncpg import Pool

from db.control import replays
from provisioner import failures

log = structlog.get_logger(__name__)

_IDLE = 1.0
"""Seconds between looks for a replay."""
_BUSY = 0.2
"""Seconds between looks while there was one within the last second or two."""


class Replayer:
    """Takes the steps of bulk replays.

    Args:
        pool: the owner's connections.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def run(self) -> None:
        """Take steps until cancelled."""
        busy = 0
        while True:
            try:
                async with self._pool.acquire() as connection:
                    while await replays.advance(connection):
                        busy = round(2 * _IDLE / _BUSY)
            except (*failures.AWAY, asyncpg.PostgresError, TimeoutError) as error:
                log.warning("replay step failed", error=repr(error))
            busy = max(busy - 1, 0)
            await asyncio.sleep(_BUSY if busy else _IDLE)
