"""The replayer: sends the messages of bulk replays. Several replayers take turns and keep to the rate."""

import asyncio

import asyncpg
import structlog
from asyncpg import Pool

from db.control import replays
from provisioner import failures

log = structlog.get_logger(__name__)

_IDLE = 1.0
"""Seconds between two looks for a replay if there was none lately."""
_BUSY = 0.2
"""Seconds between two looks if there was a replay within the last two seconds."""


class Replayer:
    """Takes the steps of running bulk replays.

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
