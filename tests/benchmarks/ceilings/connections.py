"""Ten connections with their statements prepared, in a free list: less is not to be had."""

import asyncio
import os
from collections import deque
from collections.abc import Sequence
from typing import Any

import asyncpg

_COUNT = 10


class Link:
    """A connection and its prepared statements, by their text."""

    def __init__(self, connection: Any, statements: dict[str, Any]) -> None:
        self.connection = connection
        self.statements = statements


class Connections:
    """The free list."""

    def __init__(self) -> None:
        self._free: list[Link] = []
        self._waiting: deque[asyncio.Future[Link]] = deque()

    async def open(self, texts: Sequence[str]) -> None:
        """Connect, and prepare the statements."""
        for _ in range(_COUNT):
            connection = await asyncpg.connect(os.environ["OWNER_DATABASE_URL"])
            self._free.append(Link(connection, {text: await connection.prepare(text) for text in texts}))

    async def close(self) -> None:
        for link in self._free:
            await link.connection.close()

    async def fetch(self, text: str, *values: Any) -> list[Any]:
        """Run a prepared statement by itself."""
        link = self._free.pop() if self._free else await self._next()
        try:
            return list(await link.statements[text].fetch(*values))
        finally:
            self._give_back(link)

    async def write(self, text: str, *values: Any) -> list[Any]:
        """Run a prepared statement in a transaction."""
        link = self._free.pop() if self._free else await self._next()
        try:
            await link.connection.execute("BEGIN")
            found = list(await link.statements[text].fetch(*values))
            await link.connection.execute("COMMIT")
            return found
        finally:
            self._give_back(link)

    async def _next(self) -> Link:
        waiter: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        return await waiter

    def _give_back(self, link: Link) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(link)
                return
        self._free.append(link)
