"""The API's pool of connections, handed out fairly among tenants.

A tenant gets a connection that knows it, where its statements are prepared and its catalog entries cached. If those
are busy it waits for them for a moment, and then gets another one; up to three know it from then on. Where none is
free, tenants take turns, however many requests each of them waits with; and no tenant can hold all connections.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import asyncpg
import structlog

from db.session.link import Link
from db.session.turns import Turns

log = structlog.get_logger(__name__)

_IDLE: Final = 300.0
"""Seconds after which a connection is closed that nobody needs."""
_LOOK_EVERY: Final = 5_000
"""Statements between two looks at the memory of a connection's server process."""
_MOST_RUNS: Final = 200_000
"""Statements after which a connection is replaced whose memory cannot be looked at."""
_HOMES: Final = 50_000
"""Tenants whose connection is remembered."""
_KNOWN_BY: Final = 3
"""Connections that a tenant comes back to. With more, all would have to know all tenants in the end."""
_GONE: Final = -1
"""The epoch of a connection that was dropped."""
_PATIENCE: Final = 2.0
"""Seconds that closing a connection, or resetting it, may take."""


class Pool:
    """A pool.

    Args:
        open_link: opens a connection.
        size: most connections.
        memory: bytes that a connection's server process may take before it is replaced.
        patience: seconds to wait for a connection.
    """

    def __init__(
        self, open_link: Callable[[], Awaitable[Link]], *, size: int, memory: int, patience: float
    ) -> None:
        self._open_link = open_link
        self._patience = patience
        self._turns = Turns(patience, self._hand_out)
        self._size = size
        self._memory = memory
        self._share = max(size - max(size // 5, 1), 1)
        """Connections that one tenant may hold; the rest is for others."""
        self._count = 0
        """Connections that there are or that are being opened."""
        self._epoch = 0
        """How often all connections were told to go."""
        self._free: OrderedDict[Link, None] = OrderedDict()
        self._busy: set[Link] = set()
        self._held: dict[str, int] = {}
        self._homes: dict[str, tuple[Link, ...]] = {}
        """The connections that know a tenant."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._given_back = asyncio.Event()

    def take_free(self, whose: str) -> Link | None:
        """Take a connection that is free, and knows the tenant if others do; None if there is none.

        Args:
            whose: the tenant's schema, or another name that takes turns with tenants.
        """
        if not self._may(whose) or (whose in self._homes and not self._is_home_free(whose)):
            return None
        link = self._pick(whose)
        if link is not None:
            self._hold(whose)
        return link

    async def take(self, whose: str) -> Link:
        """Take a connection: a free one, a new one, or one that is given back when it is the tenant's turn.

        Args:
            whose: the tenant's schema, or another name that takes turns with tenants.

        Raises:
            TimeoutError: there was none in time.
            Exception: a connection could not be opened.
        """
        link = self.take_free(whose)
        if link is None:
            has_home = whose in self._homes
            if self._count < self._size and self._may(whose) and not has_home:
                self._count += 1
                self._hold(whose)
            else:
                link = await self._turns.wait(whose, self._give_back, for_home=has_home)
        return link or await self._opened(whose)

    def give(self, link: Link, whose: str) -> None:
        """Give a connection back. It is reset if need be, or dropped if it is broken or in a transaction."""
        self._busy.discard(link)
        self._release(whose)
        self._given_back.set()
        if link.epoch != self._epoch or not link.is_sound:
            self._drop(link)
        elif link.needs_reset or link.runs - link.looked_at >= _LOOK_EVERY:
            self._start(self._tend(link))
        else:
            self._put(link)
        self._hand_out()

    def expire(self) -> None:
        """Close all connections: those that are free now, the others when they are given back."""
        self._epoch += 1
        while self._free:
            self._drop(self._free.popitem()[0])

    async def close(self) -> None:
        """Wait until all connections are given back, and close them."""
        self._size = 0
        self.expire()
        while self._busy:
            self._given_back.clear()
            await self._given_back.wait()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def terminate(self) -> None:
        """Close all connections at once."""
        for link in (*self._free, *self._busy):
            link.terminate()

    def _pick(self, whose: str) -> Link | None:
        """Take a connection out of those that are free: one that knows the tenant, or the one free for longest."""
        while self._free:
            known = self._homes.get(whose, ())
            link = next((each for each in known if each in self._free), None) or next(iter(self._free))
            del self._free[link]
            if link.is_sound:
                self._use(link, whose)
                return link
            self._drop(link)
        return None

    def _use(self, link: Link, whose: str) -> None:
        self._busy.add(link)
        known = self._homes.get(whose, ())
        if link in known:
            return
        known = tuple(each for each in known if each.epoch != _GONE)
        if len(known) < _KNOWN_BY:
            if len(self._homes) >= _HOMES:
                self._homes.clear()
            self._homes[whose] = (*known, link)

    def _is_home_free(self, whose: str) -> bool:
        return any(link in self._free for link in self._homes.get(whose, ()))

    async def _opened(self, whose: str) -> Link:
        epoch = self._epoch
        try:
            async with asyncio.timeout(self._patience):
                link = await self._open_link()
        except BaseException:
            self._give_up_room(whose)
            raise
        link.epoch = epoch
        self._use(link, whose)
        return link

    def _give_back(self, link: Link | None, whose: str) -> None:
        """Give back what was given to somebody who does not need it any more."""
        if link is not None:
            self.give(link, whose)
        else:
            self._give_up_room(whose)

    def _give_up_room(self, whose: str) -> None:
        self._count -= 1
        self._release(whose)
        self._hand_out()

    def _hold(self, whose: str) -> None:
        self._held[whose] = self._held.get(whose, 0) + 1

    def _release(self, whose: str) -> None:
        held = self._held.pop(whose)
        if held > 1:
            self._held[whose] = held - 1

    def _hand_out(self) -> None:
        """Give what is free, or room for a new connection, to those whose turn it is."""
        while self._free or self._count < self._size:
            found = self._turns.next(may=self._may, is_home_free=self._is_home_free)
            if found is None:
                return
            whose, turn = found
            link = self._pick(whose)
            self._count += link is None
            self._hold(whose)
            turn.set_result(link)

    def _may(self, whose: str) -> bool:
        return self._held.get(whose, 0) < self._share

    def _put(self, link: Link) -> None:
        """Put a connection among those that are free, and close those that nobody has needed for long."""
        link.idle_since = time.monotonic()
        self._free[link] = None
        while (oldest := next(iter(self._free))).idle_since < link.idle_since - _IDLE:
            del self._free[oldest]
            self._drop(oldest)

    def _drop(self, link: Link) -> None:
        self._count -= 1
        link.epoch = _GONE
        if link.is_sound:
            self._start(_closed(link))
        else:
            link.terminate()

    async def _tend(self, link: Link) -> None:
        """Put a connection among those that are free, reset, and if its server process has not grown too large."""
        outgrown = False
        try:
            async with asyncio.timeout(_PATIENCE):
                if link.needs_reset:
                    await link.reset()
                if link.runs - link.looked_at >= _LOOK_EVERY:
                    link.looked_at = link.runs
                    outgrown = await self._is_outgrown(link)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning("connection dropped", error=repr(error))
            link.terminate()
        if outgrown or link.epoch != self._epoch or not link.is_sound:
            self._drop(link)
        else:
            self._put(link)
        self._hand_out()

    async def _is_outgrown(self, link: Link) -> bool:
        memory = await link.memory()
        outgrown = link.runs > _MOST_RUNS if memory is None else memory > self._memory
        if outgrown:
            log.info("connection replaced", memory=memory, statements=link.runs)
        return outgrown

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _closed(link: Link) -> None:
    try:
        async with asyncio.timeout(_PATIENCE):
            await link.close()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        link.terminate()
