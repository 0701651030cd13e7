"""Deadlines of things that all have the same time: the oldest is always the next to be late, so one timer does for all.

`asyncio.timeout` makes and cancels a timer each time, which is much of what a short request costs.
"""

import asyncio
from collections.abc import Callable


class Deadline:
    """When something is late, and what happens then."""

    __slots__ = ("late", "on_late", "until")

    def __init__(self, until: float, on_late: Callable[[], object]) -> None:
        self.until = until
        self.on_late = on_late
        self.late = False


class Deadlines:
    """Deadlines in one event loop.

    Args:
        seconds: the time that each has.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._running: dict[Deadline, None] = {}

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The running event loop. It is asked for once, as asking is slow."""
        if self._loop is None or self._loop.is_closed():
            self._loop, self._timer = asyncio.get_running_loop(), None
        return self._loop

    def start(self, on_late: Callable[[], object]) -> Deadline:
        """Start a deadline, which `stop` must end.

        Args:
            on_late: what to call, once, when the time is over.
        """
        loop = self.loop
        deadline = Deadline(loop.time() + self._seconds, on_late)
        self._running[deadline] = None
        if self._timer is None:
            self._timer = loop.call_at(deadline.until, self._call_late)
        return deadline

    def stop(self, deadline: Deadline) -> None:
        """End a deadline, whether it is late or not."""
        del self._running[deadline]

    def _call_late(self) -> None:
        """Call what is late, and set the timer for the next one."""
        self._timer = None
        loop = self.loop
        now = loop.time()
        for deadline in list(self._running):
            if deadline.until > now:
                self._timer = loop.call_at(deadline.until, self._call_late)
                return
            if not deadline.late:
                deadline.late = True
                deadline.on_late()
