"""Slots: how many commands a provisioner works on at once, and that bulk work leaves one of them to sign-ups."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Slots:
    """The slots of a process. A command holds one while it is worked on.

    Args:
        concurrency: the number of slots. Bulk work takes at most all but one; of a single slot it would take
            none, so there are two then.
    """

    def __init__(self, concurrency: int) -> None:
        self.count = max(concurrency, 2)
        """The number of slots."""
        self.bulk = self.count - 1
        """The number of slots that bulk work may take."""
        self._all = asyncio.Semaphore(self.count)
        self._bulk = asyncio.Semaphore(self.bulk)

    @asynccontextmanager
    async def taken(self, *, bulk: bool) -> AsyncIterator[None]:
        """Wait for a slot and hold it.

        Args:
            bulk: whether the command is bulk work.
        """
        if bulk:
            async with self._bulk, self._all:
                yield
        else:
            async with self._all:
                yield
