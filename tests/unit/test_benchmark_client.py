"""The benchmark's client: it counts right answers only, from the time at which each was due."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

import pytest

from tests.benchmarks import client
from tests.benchmarks.client import Job, Outcome, Target, WrongError

TARGETS = [Target({"tenant": f"shop{number}"}, f"t00000{number}") for number in range(4)]


class Request:
    """What a server got."""

    def __init__(self, head: bytes, body: bytes) -> None:
        first, *lines = head.decode().rstrip().split("\r\n")
        self.method, self.path, _ = first.split(" ")
        self.headers = dict(line.split(": ", 1) for line in lines)
        self.body = body.decode()

    @property
    def mark(self) -> str:
        return f"t00000{self.headers['tenant'].removeprefix('shop')}"


Answer = Callable[[Request], Awaitable[tuple[int, str]]]


@asynccontextmanager
async def served(answer: Answer, *, pieces: int = 1) -> AsyncIterator[int]:
    """Serve HTTP on a free port, which is yielded; each answer is sent in so many pieces."""
    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = Request(head, b"").headers.get("content-length", "0")
                status, text = await answer(Request(head, await reader.readexactly(int(length))))
                whole = f"HTTP/1.1 {status} OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()
                size = -(-len(whole) // pieces)
                for at in range(0, len(whole), size):
                    writer.write(whole[at : at + size])
                    await writer.drain()
                    await asyncio.sleep(0)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*filter(None, serving))


def a_job(port: int, **more: Any) -> Job:
    given = {"method": "GET", "path": "/rows/{row}", "status": 200, "targets": TARGETS, "connections": 3}
    return Job(port=port, **{"seconds": 0.2, **given, **more})


async def loaded(job: Job) -> Outcome:
    return await asyncio.to_thread(client.load, job)


async def its_row(request: Request) -> tuple[int, str]:
    return 200, json.dumps({"title": f"flour {request.mark}r000001"})


@pytest.mark.parametrize("pieces", [1, 7])
async def test_right_answers_are_counted(pieces: int) -> None:
    seen: Counter[str] = Counter()

    async def answer(request: Request) -> tuple[int, str]:
        seen[request.headers["tenant"]] += 1
        assert request.path == "/rows/1"
        return await its_row(request)

    async with served(answer, pieces=pieces) as port:
        got = await loaded(a_job(port))
    assert got.answers == sum(seen.values()) > 0
    assert 0 < got.p50_ms <= got.p99_ms
    assert 0 < got.per_second <= got.answers / 0.2


async def test_a_turn_asks_each_once() -> None:
    seen: Counter[str] = Counter()

    async def answer(request: Request) -> tuple[int, str]:
        seen[request.headers["tenant"]] += 1
        return await its_row(request)

    async with served(answer) as port:
        assert (await loaded(a_job(port, draw="turn"))).answers == 4
    assert seen == Counter(shop0=1, shop1=1, shop2=1, shop3=1)


async def test_another_tenants_row_is_no_answer() -> None:
    async def answer(request: Request) -> tuple[int, str]:
        return 200, f'{{"title": "flour {TARGETS[0].mark}r000001"}}'

    async with served(answer) as port:
        with pytest.raises(WrongError, match="was expected"):
            await loaded(a_job(port))


async def test_another_status_is_no_answer() -> None:
    async def answer(request: Request) -> tuple[int, str]:
        return 429, (await its_row(request))[1]

    async with served(answer) as port:
        with pytest.raises(WrongError, match="429 OK"):
            await loaded(a_job(port))


async def test_a_page_with_a_row_too_few_is_no_answer() -> None:
    async def answer(request: Request) -> tuple[int, str]:
        return 200, json.dumps([f"{request.mark}r00000{number}" for number in range(3)])

    async with served(answer) as port:
        assert (await loaded(a_job(port, path="/rows?limit=3", marks=3))).answers
        with pytest.raises(WrongError, match="200 with 4"):
            await loaded(a_job(port, path="/rows?limit=4", marks=4))


async def test_a_closed_connection_is_no_answer() -> None:
    async def answer(request: Request) -> tuple[int, str]:
        raise ConnectionError

    async with served(answer) as port:
        with pytest.raises(WrongError, match="closed"):
            await loaded(a_job(port))


async def test_each_post_sends_a_mark_of_its_own() -> None:
    sent: list[str] = []

    async def answer(request: Request) -> tuple[int, str]:
        assert request.headers["content-type"] == "application/json"
        sent.append(json.loads(request.body)["title"])
        assert sent[-1].startswith(f"flour {request.mark}p")
        return 201, json.dumps({"title": sent[-1]})

    more = {"method": "POST", "path": "/rows", "status": 201, "fresh": True}
    async with served(answer) as port:
        for _ in range(2):
            await loaded(a_job(port, **more, body='{"title": "flour {mark}"}'))
    assert len(set(sent)) == len(sent) > 1


async def test_at_a_fixed_rate_latency_counts_from_when_a_request_was_due() -> None:
    first = True

    async def answer(request: Request) -> tuple[int, str]:
        nonlocal first
        if first:
            first = False
            await asyncio.sleep(0.3)  # a stall, behind which the others wait on the only connection
        return await its_row(request)

    async with served(answer) as port:
        got = await loaded(a_job(port, rate=100.0, seconds=2.0, connections=1))
    assert got.answers > 100
    # Those due early in the stall waited most of it; counted from when they were sent, one alone took that long.
    assert got.p99_ms >= 250


def test_a_row_is_asked_for_by_its_number() -> None:
    job = a_job(1, targets=[Target({}, "t000007", row) for row in (1, 30)], draw="turn", method="PATCH")
    asked = list(islice(client.requests(job), 2))
    assert [request.split()[1] for request, _ in asked] == [b"/rows/1", b"/rows/30"]
    assert [expected for _, expected in asked] == [b"t000007r000001", b"t000007r000030"]
