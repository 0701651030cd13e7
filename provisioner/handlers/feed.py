"""The feed: the tenants of a wave, claimed some at a time and handed out one by one, no faster than they may be."""

import asyncio
import time
from collections import deque
from typing import Final
from uuid import UUID

from db.control import rollout_steps
from db.control.rollout_steps import Claimed
from db.control.waves import Work
from db.session.connection import Connection

_MOST: Final = 32
"""Tenants that are claimed at once, at most."""
_QUICK: Final = 0.5
"""Seconds of work to claim ahead, at most: a pause is seen when there is nothing claimed any more."""


class Feed:
    """Hands out the tenants of a wave.

    Args:
        work: the rollout's.
        until: when to hand out no more, by the monotonic clock.
    """

    def __init__(self, work: Work, *, until: float) -> None:
        self.over = False
        """Whether there is nobody left to hand out."""
        self._work = work
        self._until = until
        self._gap = 0.0 if work.rate is None else 1 / work.rate
        self._turn = time.monotonic()
        self._ahead = deque[Claimed]()
        self._last: UUID | None = None
        self._size = 1
        self._claimed_at = self._turn
        self._lock = asyncio.Lock()

    async def next(self, connection: Connection) -> Claimed | None:
        """Return the next tenant when its turn comes; None if there is none now, or the rollout does not run any more.

        Args:
            connection: of the owner, to claim with.
        """
        async with self._lock:
            if not self.over:
                await self._wait()
            if not self._ahead and not self.over:
                await self._claim(connection)
            return self._ahead.popleft() if self._ahead and not self.over else None

    async def stop(self, connection: Connection) -> None:
        """Hand out no more, and give back what was claimed ahead."""
        self.over = True
        left = [each.tenant.id for each in self._ahead]
        self._ahead.clear()
        async with self._lock:  # somebody may be claiming
            left += [each.tenant.id for each in self._ahead]
            self._ahead.clear()
            if left:
                await rollout_steps.leave(connection, self._work.id, left)

    async def _wait(self) -> None:
        now = time.monotonic()
        turn = max(self._turn, now)
        self._turn = turn + self._gap
        if turn > now:
            await asyncio.sleep(turn - now)

    async def _claim(self, connection: Connection) -> None:
        now = time.monotonic()
        if now > self._until:
            self.over = True
            return
        took, self._claimed_at = now - self._claimed_at, now
        self._size = min(self._size * 2, _MOST) if took < _QUICK / 2 and not self._gap else 1
        found = await rollout_steps.claim(connection, self._work, after=self._last, limit=self._size)
        if not found and self._last is not None:  # those that are to be tried again may come before it
            found = await rollout_steps.claim(connection, self._work, after=None, limit=self._size)
        self._ahead.extend(found)
        self._last = found[-1].tenant.id if found else None
        self.over |= not found  # `stop` may have come meanwhile
