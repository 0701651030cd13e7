"""Usage: records when tokens were last used, without a write for each request.

A token's first use is written before the request is served, since a sign-up's key can be exchanged only
while it is unused. Later uses are collected and written together, at most once per minute for each token.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Final

import asyncpg
import structlog

from db.session.failures import UnavailableError
from db.session.tenancy import Database
from db.tenants import tokens
from db.tenants.tokens import Principal

log = structlog.get_logger(__name__)

_EVERY: Final = 60.0
_FLUSH_EVERY: Final = 5.0
_CAPACITY: Final = 50_000


class Usage:
    """Records when tokens were last used.

    Args:
        database: the API's connections.
        every: seconds between two writes of one token's use.
        flush_every: seconds between two writes of all uses collected so far.
    """

    def __init__(
        self, database: Database, *, every: float = _EVERY, flush_every: float = _FLUSH_EVERY
    ) -> None:
        self._database = database
        self._every = every
        self._flush_every = flush_every
        self._noted: dict[str, float] = {}
        self._waiting: dict[str, datetime] = {}

    def is_noted(self, principal: Principal) -> bool:
        """Return whether a use of the token was noted just now, so that this one need not be."""
        noted = self._noted.get(principal.token_id)
        return noted is not None and time.monotonic() - noted < self._every

    async def note(self, principal: Principal) -> bool:
        """Note that a token was used.

        Args:
            principal: the principal of the token.

        Returns:
            False if this would have been the first use but the token has ended meanwhile, otherwise True.
        """
        now = time.monotonic()
        if self.is_noted(principal):
            return True
        if principal.token_id not in self._noted and not principal.used:
            async with self._database.shared() as connection:
                if not await tokens.use_first(connection, principal.token_id):
                    return False
        else:
            self._waiting[principal.token_id] = datetime.now(UTC)
        if len(self._noted) >= _CAPACITY:
            self._noted.clear()
        self._noted[principal.token_id] = now
        return True

    async def run(self) -> None:
        """Write the collected uses every ``flush_every`` seconds until cancelled."""
        while True:
            await asyncio.sleep(self._flush_every)
            await self.flush()

    async def flush(self) -> None:
        """Write the collected uses."""
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        try:
            async with self._database.shared() as connection:
                await tokens.use(connection, waiting)
        except (UnavailableError, asyncpg.PostgresError, OSError) as error:
            log.warning("uses of tokens not noted", error=repr(error), tokens=len(waiting))
