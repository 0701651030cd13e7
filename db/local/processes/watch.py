"""Watching of services, which are started again if they die."""

import contextlib
import threading
import time
from collections.abc import Callable

from db.local.processes.process import Service

_FIRST_DELAY, _LONGEST_DELAY = 0.2, 10.0
_STEADY = 30.0
_LOOK_EVERY = 0.1


def say(text: str) -> None:
    """Print a line. If the terminal is gone, do nothing."""
    with contextlib.suppress(OSError, ValueError):
        print(text, flush=True)


class Watch:
    """Keeps a service alive.

    A service that dies is started again after 0.2 seconds. The delay doubles up to 10 seconds, until the
    service has been up for 30 seconds.

    Args:
        service: the service to keep alive, which has been started.
        changed: called whenever the service's process id may have changed.
    """

    def __init__(self, service: Service, changed: Callable[[], None]) -> None:
        self.service = service
        self._changed = changed
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch-{service.name}", daemon=True)

    def start(self) -> None:
        """Begin to watch the service."""
        self._thread.start()

    def release(self) -> None:
        """Stop watching: do not start the service again if it dies."""
        self._stopping.set()

    def stop(self) -> None:
        """Stop the service and the watch."""
        self.release()
        self.service.stop()
        self._thread.join()
        self.service.stop()  # the watch may have just started it again

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
        except Exception as error:  # noqa: BLE001 - any error: the service is tried again after the delay
            if not self._stopping.is_set():
                say(f"{self.service.name} could not be started: {error}")
