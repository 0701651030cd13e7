"""Waiting with a time limit, and finding free ports."""

import contextlib
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path

LOOPBACK = "127.0.0.1"
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def wait_until(condition: Callable[[], bool], timeout: float, *, interval: float = 0.02) -> bool:
    """Call ``condition`` every ``interval`` seconds until it is true, for at most ``timeout`` seconds.

    Returns:
        True if the condition became true in time.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(interval)
    return True


def is_free(port: int) -> bool:
    """Return True if a server can listen on the loopback port ``port`` now."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a loopback port on which no server listens.

    The port is below the ephemeral range. In that range, an outgoing connection could take the port of a
    server that is down, even the connection that a client opens to find out whether the server is back.

    Raises:
        OSError: no free port was found in 200 tries.
    """
    low = 32768
    with contextlib.suppress(OSError, ValueError):
        low = int(_EPHEMERAL.read_text(encoding="ascii").split()[0])
    first, last = (15_000, low - 1) if low > 20_000 else (20_000, 32_767)
    for _ in range(200):
        port = random.randint(first, last)
        if is_free(port):
            return port
    raise OSError("no free loopback port was found")
