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

Turn = asyncio.Future[Link | None]
"""A wait that ends with a connection, or with None: there is room for a new one."""


class Turns:
    """Tenants take turns, however many requests each of them waits with.

    Args:
        patience: seconds to wait.
    """

    def __init__(self, patience: float) -> None:
        self._deadlines = Deadlines(patience)
        self._waiting: OrderedDict[str, deque[Turn]] = OrderedDict()
        self._passed: set[str] = set()
        """Who has gone before the one who is first in turn."""

    async def wait(self, whose: str, give_back: Callable[[Link | None, str], None]) -> Link | None:
        """Wait for a turn.

        Args:
            whose: who waits.
            give_back: takes back what was given to one who was cancelled just then.

        Raises:
            TimeoutError: there was none in time.
        """
        turn: Turn = self._deadlines.loop.create_future()
        self._waiting.setdefault(whose, deque()).append(turn)
        deadline = self._deadlines.start(partial(_give_up, turn))
        try:
            return await turn
        except BaseException:
            if turn.cancelled() or turn.exception() is not None:
                self._leave(whose, turn)
            else:
                give_back(turn.result(), whose)
            raise
        finally:
            self._deadlines.stop(deadline)

    def next(self, *, may: Callable[[str], bool], first: Callable[[str], bool]) -> tuple[str, Turn] | None:
        """Return whose turn it is, and the turn; None if it is nobody's. Who goes on waiting is the last one then.

        Args:
            may: whether it can be a tenant's turn.
            first: whether a tenant is to go before others. Nobody waits for more than 16 of those, nor for one twice.
        """
        while (whose := self._choose(may, first)) is not None:
            turns = self._waiting[whose]
            turn = turns.popleft()
            self._waiting.move_to_end(whose)
            if not turns:
                del self._waiting[whose]
            if not turn.done():
                return whose, turn
        return None

    def _choose(self, may: Callable[[str], bool], first: Callable[[str], bool]) -> str | None:
        oldest = next((whose for whose in self._waiting if may(whose)), None)
        if oldest is not None and len(self._passed) < _PASSED:
            for whose in islice(self._waiting, _LOOKED_AT):
                if whose not in self._passed and first(whose) and may(whose):
                    if whose != oldest:
                        self._passed.add(whose)
                        return whose
                    break
        self._passed.clear()
        return oldest

    def _leave(self, whose: str, turn: Turn) -> None:
        turns = self._waiting.get(whose)
        if turns is None or turn not in turns:
            return
        turns.remove(turn)
        if not turns:
            del self._waiting[whose]


def _give_up(turn: Turn) -> None:
    if not turn.done():
        turn.set_exception(TimeoutError("no connection was free in time"))
