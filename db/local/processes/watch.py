"""Services that are started again when they die."""

import contextlib
import threading
import time
from collections.abc import Callable

from db.local.processes.process import Service

_FIRST_DELAY, _LONGEST_DELAY = 0.2, 10.0
_STEADY = 30.0
_LOOK_EVERY = 0.1


def say(text: str) -> None:
    """Write a line to the terminal, if there still is one."""
    with contextlib.suppress(OSError, ValueError):
        print(text, flush=True)


class Watch:
    """Keeps one started service alive.

    It is started again at once the first time it dies, and then after delays that double up to 10
    seconds, until it has been up for half a minute.

    Args:
        service: what to keep alive; it has been started.
        changed: called whenever its process id may have changed.
    """

    def __init__(self, service: Service, changed: Callable[[], None]) -> None:
        self.service = service
        self._changed = changed
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch-{service.name}", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def release(self) -> None:
        """Let the service die from now on."""
        self._stopping.set()

    def stop(self) -> None:
        """Stop the service and the watch."""
        self.release()
        self.service.stop()
        self._thread.join()
        self.service.stop()  # the watch may have been about to start it

    def _run(self) -> None:
        delay, since = _FIRST_DELAY, time.monotonic()
        while not self._stopping.wait(_LOOK_EVERY):
            if self.service.alive:
                continue
            if time.monotonic() - since > _STEADY:
                delay = _FIRST_DELAY
            self._changed()
            say(f"{self.service.name} has ended; starting it again (log: {self.service.log})")
            if self._stopping.wait(delay):
                return
            delay = min(delay * 2, _LONGEST_DELAY)
            self._revive()
            since = time.monotonic()
            self._changed()

    def _revive(self) -> None:
        try:
            self.service.start()
        except Exception as error:  # noqa: BLE001 - whatever it was, the next attempt comes after the delay
            if not self._stopping.is_set():
                say(f"{self.service.name} could not be started: {error}")
