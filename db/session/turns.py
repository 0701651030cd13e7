"""Turns: who waits for a connection, and who is next."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Final

from db.deadlines import Deadlines
from db.session.link import Link

_LOOKED_AT: Final = 32
"""Tenants in turn among whom one is looked for who is to go before the first."""
_PASSED: Final = 16
"""Tenants that go before the one who is first in turn at most, each of them once."""
_HOME_PATIENCE: Final = 0.008
"""Seconds that a tenant waits for a connection that knows it. To get to know it costs another about 2 ms, and what that
one knew of somebody else: with thousands of tenants, who waited no longer than that was soon known by all of them.
"""

Turn = asyncio.Future[Link | None]
"""A wait that ends with a connection, or with None: there is room for a new one."""


class _Waiting:
    """Somebody who waits.

    Attributes:
        turn: what ends the wait.
        late: whether any connection will do by now.
    """

    __slots__ = ("late", "turn")

    def __init__(self, turn: Turn, *, late: bool) -> None:
        self.turn = turn
        self.late = late


class Turns:
    """Tenants take turns, however many requests each of them waits with.

    Args:
        patience: seconds to wait.
        on_late: called when any connection will do for somebody who waited for another one.
    """

    def __init__(self, patience: float, on_late: Callable[[], None]) -> None:
        self._deadlines = Deadlines(patience)
        self._home = Deadlines(_HOME_PATIENCE)
        self._on_late = on_late
        self._waiting: OrderedDict[str, deque[_Waiting]] = OrderedDict()
        self._passed: set[str] = set()
        """Who has gone before the one who is first in turn."""

    async def wait(
        self, whose: str, give_back: Callable[[Link | None, str], None], *, for_home: bool
    ) -> Link | None:
        """Wait for a turn.

        Args:
            whose: who waits.
            give_back: takes back what was given to one who was cancelled just then.
            for_home: whether there are connections that know the tenant. It waits for one of them first.

        Raises:
            TimeoutError: there was none in time.
        """
        turn: Turn = self._deadlines.loop.create_future()
        waiting = _Waiting(turn, late=not for_home)
        self._waiting.setdefault(whose, deque()).append(waiting)
        deadline = self._deadlines.start(partial(_give_up, turn))
        home = self._home.start(partial(self._be_late, waiting)) if for_home else None
        try:
            return await turn
        except BaseException:
            if turn.cancelled() or turn.exception() is not None:
                self._leave(whose, waiting)
            else:
                give_back(turn.result(), whose)
            raise
        finally:
            self._deadlines.stop(deadline)
            if home is not None:
                self._home.stop(home)

    def next(
        self, *, may: Callable[[str], bool], is_home_free: Callable[[str], bool]
    ) -> tuple[str, Turn] | None:
        """Return whose turn it is, and the turn; None if it is nobody's. Who goes on waiting is the last one then.

        Args:
            may: whether it can be a tenant's turn.
            is_home_free: whether a connection is free that knows the tenant, which goes before others then. Nobody
                for whom any will do waits for more than 16 of those, nor for one twice.
        """
        while (whose := self._choose(may, is_home_free)) is not None:
            turns = self._waiting[whose]
            turn = turns.popleft().turn
            self._waiting.move_to_end(whose)
            if not turns:
                del self._waiting[whose]
            if not turn.done():
                return whose, turn
        return None

    def _choose(self, may: Callable[[str], bool], is_home_free: Callable[[str], bool]) -> str | None:
        oldest = next((whose for whose, all_ in self._waiting.items() if all_[0].late and may(whose)), None)
        if oldest is None or len(self._passed) < _PASSED:
            for whose in islice(self._waiting, _LOOKED_AT):
                if is_home_free(whose) and may(whose) and (oldest is None or whose not in self._passed):
                    if whose == oldest:
                        break
                    self._passed.add(whose)
                    return whose
        self._passed.clear()
        return oldest

    def _be_late(self, waiting: _Waiting) -> None:
        waiting.late = True
        self._on_late()

    def _leave(self, whose: str, waiting: _Waiting) -> None:
        turns = self._waiting.get(whose)
        if turns is None or waiting not in turns:
            return
        turns.remove(waiting)
        if not turns:
            del self._waiting[whose]


def _give_up(turn: Turn) -> None:
    if not turn.done():
        turn.set_exception(TimeoutError("no connection was free in time"))
