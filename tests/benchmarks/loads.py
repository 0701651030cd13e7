"""Loads: what is asked of a stack, by a client in a process of its own, and by turns."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import msgspec

from db.local.processes.process import relatives
from db.settings import PROJECT
from tests.benchmarks.client import Job, Outcome, Target, WrongError, load
from tests.benchmarks.draws import Draw
from tests.benchmarks.fleet import ROWS
from tests.benchmarks.marks import MARK
from tests.benchmarks.plan import Plan
from tests.benchmarks.stacks import Stack
from tests.processes import running
from tests.support import eventually


class Operation(msgspec.Struct, frozen=True):
    """A kind of request."""

    name: str
    method: str
    suffix: str
    status: int = 200
    rows: int = 1
    """In the answer."""


READ: Final = Operation("GET one", "GET", "/{row}")
PAGE: Final = Operation(f"GET {ROWS}", "GET", f"?limit={ROWS}", rows=ROWS)
ADD: Final = Operation("POST", "POST", "", status=201)
CHANGE: Final = Operation("PATCH", "PATCH", "/{row}")


class LoadError(RuntimeError):
    """An answer was wrong, or none came."""


def job(
    stack: Stack, operation: Operation, plan: Plan, *, draw: Draw = "uniform", targets: Sequence[Target] = ()
) -> Job:
    """Return what the client is to do.

    Args:
        stack: who is asked.
        operation: what is asked.
        plan: how long, and on how many connections.
        draw: how often each tenant is met.
        targets: the tenants; the stack's by default.
    """
    sent = operation.method in {"POST", "PATCH"}
    return Job(
        port=stack.port,
        method=operation.method,
        path=stack.path + operation.suffix,
        status=operation.status,
        targets=list(targets or stack.targets),
        draw=draw,
        body=json.dumps(stack.body) if sent else "",
        fresh=operation.method == "POST",
        marks=operation.rows * json.dumps(stack.body).count(MARK),
        connections=plan.connections,
        seconds=plan.seconds,
    )


async def run(what: Job) -> Outcome:
    """Run a client to its end.

    Raises:
        LoadError: an answer was wrong, or none came.
    """
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmarks.client"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=PROJECT,
    )
    try:
        said, wrong = await client.communicate(msgspec.json.encode(what))
    finally:
        if client.returncode is None:
            client.kill()
            await client.wait()
    if client.returncode:
        raise LoadError(wrong.decode().strip())
    return msgspec.json.decode(said, type=Outcome)


def once(what: Job) -> Job:
    """Return the same, of each tenant once: caches are filled, statements prepared."""
    return msgspec.structs.replace(what, draw="turn")


class Rounds:
    """What the rounds of one line gave."""

    def __init__(self) -> None:
        self.of: dict[str, list[float]] = {"per_second": [], "p50_ms": [], "p99_ms": [], "cpu_ms": []}

    def add(self, outcome: Outcome, cpu: float) -> None:
        """Add a round's outcome, and the seconds of processor time that the program took for it."""
        for name, values in self.of.items():
            values.append(cpu / outcome.answers * 1000 if name == "cpu_ms" else getattr(outcome, name))


async def timed(stack: Stack, what: Job, rounds: Rounds) -> None:
    """Run a client to its end, and add what came of it to the rounds."""
    before = _processor_time(stack)
    outcome = await run(what)
    rounds.add(outcome, _processor_time(stack) - before)


def _processor_time(stack: Stack) -> float:
    assert stack.process.pid is not None
    times = [process.cpu_times() for process in relatives(stack.process.pid)]
    return float(sum(one.user + one.system for one in times))


async def by_turns(asked: Sequence[tuple[Stack, Job]], plan: Plan) -> list[Rounds]:
    """Run each job once to warm up, then all of them in each round."""
    for _, what in asked:
        await run(once(what))
        await run(what)
    found = [Rounds() for _ in asked]
    for _ in range(plan.rounds):
        for (stack, what), rounds in zip(asked, found, strict=True):
            await timed(stack, what, rounds)
    return found


@asynccontextmanager
async def serving(stacks: Sequence[Stack]) -> AsyncIterator[None]:
    """Run the stacks until each has answered, and kill them in the end."""
    async with AsyncExitStack() as started:
        for stack in stacks:
            await started.enter_async_context(running(stack.process))
        for stack in stacks:
            await _answered(stack)
        yield


async def _answered(stack: Stack) -> None:
    first = Job(
        port=stack.port,
        method="GET",
        path=stack.path + READ.suffix,
        status=200,
        targets=stack.targets[:1],
        draw="turn",
        marks=json.dumps(stack.body).count(MARK),
        connections=1,
    )

    async def well() -> bool:
        if not stack.process.alive:
            raise LoadError(f"{stack.name} has ended: {stack.process.tail()}")
        try:
            await asyncio.to_thread(load, first)
        except (WrongError, OSError) as error:
            raise AssertionError(str(error)) from None
        return True

    try:
        await eventually(well, within=60, what=f"{stack.name} answers")
    except AssertionError as error:
        raise LoadError(f"{error}; {stack.process.tail()}") from None
