"""The load: ``python -m tests.benchmarks.client`` reads a `Job` and writes an `Outcome`, as JSON.

It is a process of its own, so that it takes no time of the server's. It is the same for all stacks, since it takes
a share of the machine. Sockets and a selector, for the least work a request. `wrk` would be lighter still, but
cannot say cheaply whether an answer is the right tenant's, and a figure for wrong answers is worth nothing.
"""

import selectors
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import count, cycle
from typing import Final

import msgspec

from tests.benchmarks.draws import Draw, drawn
from tests.benchmarks.figures import percentile
from tests.benchmarks.marks import MARK, row_mark

_HOST: Final = "127.0.0.1"
_TIMEOUT: Final = 30.0
_STAMP: Final = 16  # digits


class Target(msgspec.Struct, frozen=True):
    """A tenant: what its requests are sent with, and the mark that its rows bear."""

    headers: dict[str, str]
    mark: str
    row: int = 1
    """Which of its rows."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask, how often, and what the answers must be."""

    port: int
    method: str
    path: str
    """``{row}`` stands for the target's row."""
    status: int
    targets: list[Target]
    draw: Draw = "uniform"
    body: str = ""
    fresh: bool = False
    """Whether each request sends a mark of its own, as each makes a row."""
    marks: int = 1
    """How often a row's mark must stand in an answer."""
    connections: int = 32
    seconds: float = 1.0
    """How long; a ``turn`` goes through all targets instead, and takes as long as it takes."""
    rate: float = 0.0
    """Requests a second, at regular times; 0: each connection asks again as soon as it has its answer."""
    seed: int = 1


class Outcome(msgspec.Struct, frozen=True):
    """What the answers were like. Latencies count from the time at which a request was due."""

    answers: int
    per_second: float
    p50_ms: float
    p99_ms: float


class WrongError(Exception):
    """An answer is not what it must be, or did not come."""


class _Link:
    """A connection, which has at most one request under way."""

    __slots__ = ("expected", "received", "since", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((_HOST, port), _TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.expected = b""
        self.since = 0.0

    def ask(self, request: bytes, expected: bytes, since: float) -> None:
        self.expected, self.since = expected, since
        self.socket.sendall(request)

    def answer(self, job: Job) -> bool:
        """Read what is there; return whether the answer is whole.

        Raises:
            WrongError: the answer is not the right one.
        """
        data = self.socket.recv(1 << 18)
        if not data:
            raise WrongError(f"closed after {self.received!r}")
        data = self.received + data if self.received else data
        end = data.find(b"\r\n\r\n")
        head = data[:end].lower() if end >= 0 else b""
        at = head.find(b"content-length:")
        if end < 0 or (at >= 0 and len(data) < end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])):
            self.received = data
            return False
        self.received = b""
        if at < 0 or int(head[9:12]) != job.status or data.count(self.expected, end) != job.marks:
            raise WrongError(
                f"{job.status} with {job.marks} of {self.expected!r} was expected: {data[:2000]!r}"
            )
        return True


def requests(job: Job) -> Iterator[tuple[bytes, bytes]]:
    """Yield each request, and the text that its answer must have."""
    made = [_request(job, target) for target in job.targets]
    places = drawn(job.draw, len(made), job.seed)
    stamps = count(time.time_ns() // 1000)  # of no other load on the same tenants
    for place in places if job.draw == "turn" else cycle(places):
        request, expected = made[place]
        if job.fresh:
            stamp = b"%0*d" % (_STAMP, next(stamps))
            request, expected = request.replace(b"#" * _STAMP, stamp), expected.replace(b"#" * _STAMP, stamp)
        yield request, expected


def _request(job: Job, target: Target) -> tuple[bytes, bytes]:
    mark = target.mark + "p" + "#" * _STAMP if job.fresh else row_mark(target.mark, target.row)
    # A page's rows are known by the tenant's mark alone.
    expected = mark if job.fresh or "{row}" in job.path else target.mark
    body, path = job.body.replace(MARK, mark).encode(), job.path.replace("{row}", str(target.row))
    headers = {"host": f"{_HOST}:{job.port}", **target.headers}
    if body:
        headers |= {"content-type": "application/json", "content-length": str(len(body))}
    lines = [f"{job.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body, expected.encode()


def load(job: Job) -> Outcome:
    """Ask until the time is over or all targets were asked.

    Raises:
        WrongError: an answer was wrong, or none came.
        OSError: the server cannot be reached.
    """
    with selectors.DefaultSelector() as selector, ExitStack() as opened:
        links = [_Link(job.port) for _ in range(job.connections)]
        for link in links:
            opened.enter_context(link.socket)
            selector.register(link.socket, selectors.EVENT_READ, link)
        started = time.perf_counter()
        latencies = _ask_all(job, selector, links)
        return outcome(latencies, time.perf_counter() - started)


def _ask_all(job: Job, selector: selectors.BaseSelector, idle: list[_Link]) -> list[float]:
    """Return the latencies, in seconds."""
    asked, latencies, clock = requests(job), list[float](), time.perf_counter
    now = due = clock()
    until = now + job.seconds if job.draw != "turn" else float("inf")
    over = False
    while True:
        while idle and not over and (not job.rate or due <= now):
            request = next(asked, None)
            if request is None or now >= until or due >= until:
                over = True
                break
            idle.pop().ask(*request, due if job.rate else now)
            due += 1 / job.rate if job.rate else 0
        if over and len(idle) == job.connections:
            return latencies
        wait = _TIMEOUT if not job.rate or over or not idle else max(due - now, 0)
        ready = selector.select(wait)
        if not ready and wait == _TIMEOUT:
            raise WrongError(f"no answer within {_TIMEOUT:g} s")
        for key, _ in ready:
            if key.data.answer(job):
                latencies.append(clock() - key.data.since)
                idle.append(key.data)
        now = clock()


def outcome(latencies: Sequence[float], took: float) -> Outcome:
    """Return what the latencies, in seconds, amount to."""
    return Outcome(
        len(latencies),
        len(latencies) / took,
        percentile(latencies, 0.50) * 1000,
        percentile(latencies, 0.99) * 1000,
    )


def main() -> int:
    """Run the job that standard input says; return 1 if an answer was wrong."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        sys.stdout.buffer.write(msgspec.json.encode(load(job)))
    except (WrongError, OSError) as error:
        sys.stderr.write(f"{job.method} {job.path}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
