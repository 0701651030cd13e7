"""A long run under load, among random deliveries, while processes are killed at random: ``make soak``.

After that, requests that are cancelled at random.

The whole stack as it is run in earnest; every sign-up is a client's own, who asks again until it has an
answer. At the end nobody is missing and nothing was done twice, or the exit code is 1.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import UUID, uuid4

import aio_pika
import asyncpg
import httpx
import msgspec

from db.local.processes.process import Process, Service
from db.local.servers.rabbitmq import RabbitNode
from db.settings import Settings
from provisioner import topology
from tests import invariants
from tests.benchmarks import cancellations
from tests.benchmarks.servers import say, servers
from tests.benchmarks.strangers import Strangers
from tests.invariants import Healed
from tests.processes import a_provisioner, an_api, answers

_LISTENER = "soak.events"
_HEALING = 90.0


class Plan(msgspec.Struct, frozen=True):
    """How long, how much and how cruel."""

    signups: int
    seconds: float
    seed: int
    clients: int = 8
    pause: tuple[float, float] = (2.0, 7.0)
    """Seconds between two kills, at least and at most."""
    deliveries: int = 0
    """Random deliveries among all that."""

    @property
    def healing(self) -> float:
        """Seconds until all must be well after the last kill."""
        return _HEALING + self.deliveries / 50


class Stack(msgspec.Struct):
    """What runs, and can be killed."""

    config: Settings
    base: str
    node: RabbitNode
    programs: list[Process]

    @property
    def victims(self) -> list[Service]:
        return [*self.programs, self.node]


class Report(msgspec.Struct):
    """What happened."""

    signed_up: int = 0
    repeats: int = 0
    kills: Counter[str] = msgspec.field(default_factory=Counter)
    heard: int = 0
    last: str = ""
    """The error of the last request that got no answer."""
    strange: int = 0
    """Random deliveries."""
    looks: int = 0
    """How often broker and heartbeats were compared."""
    differed: str = ""
    """How many of the samples taken while messages came and went differed."""
    seconds: float = 0.0
    wrong: list[str] = []


@asynccontextmanager
async def stack(home: Path) -> AsyncIterator[Stack]:
    """PostgreSQL, RabbitMQ, the API and two provisioners, all private."""
    async with servers(home) as ground:
        config = msgspec.structs.replace(
            ground.config,
            relay_poll=0.5,
            relay_lease=5.0,
            publish_timeout=3.0,
            republish_after=5.0,
            heartbeat_interval=0.5,
            heartbeat_timeout=3.0,
            retry_base=0.2,
            retry_cap=2.0,
        )
        api, base = an_api(config, home / "api.log")
        programs = [api, *(a_provisioner(config, home / f"{n}.log", n) for n in ("first", "second"))]
        try:
            for program in programs:
                program.start()
            yield Stack(config, base, ground.node, programs)
        finally:
            for program in programs:
                await asyncio.to_thread(program.kill)


async def soak(plan: Plan, home: Path, say: Callable[[str], None] = say) -> Report:
    """Run the plan and return the report; `Report.wrong` is empty where all went well."""
    report = Report()
    async with stack(home) as running:
        await _declare_listener(running.node)
        await answers(f"{running.base}/health/ready")
        started = time.monotonic()
        over = asyncio.Event()
        strangers = Strangers(running.config, running.node, seed=plan.seed, count=plan.deliveries)
        sending = asyncio.create_task(strangers.send())
        watching = asyncio.create_task(strangers.watch())
        killing = asyncio.create_task(_kill(running, plan, report, say, over, strangers))
        signing = asyncio.create_task(_sign_up_all(running, plan, report))
        await asyncio.wait([signing], timeout=plan.seconds)
        over.set()
        await killing
        for victim in running.victims:
            await asyncio.to_thread(victim.start)
        strangers.disturbed()
        try:
            await asyncio.wait_for(asyncio.gather(signing, sending), plan.healing)
        except TimeoutError:
            report.wrong.append(
                f"only {report.signed_up} were answered, the last was {report.last!r}; {strangers.sent} sent"
            )
        say(f"{report.signed_up} signed up, {strangers.sent} sent; waiting until all is quiet")
        await _verify(running, report, strangers, watching, plan.healing)
        report.strange, report.looks = strangers.sent, strangers.compared
        report.differed = f"{strangers.differed} of {strangers.samples}"
        report.wrong += strangers.wrong
        report.seconds = time.monotonic() - started
    return report


async def _sign_up_all(running: Stack, plan: Plan, report: Report) -> None:
    """Sign up at a steady rate over three quarters of the time, each client until it has its answer."""
    gap = plan.seconds * 0.75 / plan.signups
    room = asyncio.Semaphore(plan.clients)
    async with httpx.AsyncClient(base_url=running.base, timeout=5) as client, asyncio.TaskGroup() as group:
        for number in range(plan.signups):
            await room.acquire()
            task = group.create_task(_insist(client, f"shop{number}", report))
            task.add_done_callback(lambda _: room.release())
            await asyncio.sleep(gap)


async def _insist(client: httpx.AsyncClient, slug: str, report: Report) -> None:
    key = {"idempotency-key": f"{uuid4()}"}
    body = {
        "name": slug.title(),
        "slug": slug,
        "admin": {"email": f"{slug}@example.com", "password": "correct horse"},
    }
    while True:
        try:
            answer = await client.post("/tenants", json=body, headers=key)
            if answer.status_code == 202:
                report.signed_up += 1
                return
            if answer.status_code < 500:
                raise AssertionError(f"{slug}: {answer.status_code} {answer.text}")
            report.last = answer.text
        except httpx.TransportError as error:
            report.last = repr(error)
        report.repeats += 1
        await asyncio.sleep(0.3)


async def _kill(
    running: Stack,
    plan: Plan,
    report: Report,
    say: Callable[[str], None],
    over: asyncio.Event,
    strangers: Strangers,
) -> None:
    """Kill a random process again and again, and start dead ones, as a supervisor would."""
    chance = random.Random(plan.seed)
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), chance.uniform(*plan.pause))
            return
        for program in running.programs:
            await asyncio.to_thread(program.start)  # may have died by itself
        victim = chance.choice(running.victims)
        await _kill_one(victim)
        strangers.disturbed()
        report.kills[victim.name] += 1
        say(f"killed {victim.name}, {report.signed_up} signed up")


async def _kill_one(victim: Service) -> None:
    if isinstance(victim, RabbitNode):
        await asyncio.to_thread(victim.sync)
    await asyncio.to_thread(victim.kill)
    await asyncio.to_thread(victim.start)


async def _declare_listener(node: RabbitNode) -> None:
    """Bind a durable queue to all events, to see at the end that none is missing."""
    async with await aio_pika.connect(node.url) as connection:
        channel = await connection.channel()
        await topology.declare(channel)
        queue = await channel.declare_queue(_LISTENER, durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind(topology.EVENTS, "#")
    await asyncio.to_thread(node.sync)


async def _heard(node: RabbitNode) -> dict[UUID, list[bytes]]:
    heard: dict[UUID, list[bytes]] = {}
    async with await aio_pika.connect(node.url) as connection:
        queue = await (await connection.channel()).get_queue(_LISTENER)
        while (message := await queue.get(no_ack=True, fail=False)) is not None:
            heard.setdefault(UUID(message.message_id), []).append(message.body)
    return heard


async def _verify(
    running: Stack, report: Report, strangers: Strangers, watching: asyncio.Task[None], within: float
) -> None:
    owner = await asyncpg.connect(running.config.require("owner_database_url"))
    try:
        await strangers.taken(within=within)  # what is still to be parked makes events
        await strangers.compared_again(within=60)
        watching.cancel()
        await asyncio.wait([watching])
        await Healed(running.config)(amqp_url=running.node.url, within=within)
        await strangers.verify(owner)
        heard = await _heard(running.node)
        report.heard = sum(map(len, heard.values()))
        report.wrong += await invariants.unheard(owner, heard)
        tenants = await owner.fetchval("SELECT count(*) FROM shared.tenants WHERE status = 'active'")
        if tenants != await owner.fetchval("SELECT count(*) FROM shared.tenants"):
            report.wrong.append("not all tenants are active")
        if tenants < report.signed_up:
            report.wrong.append(f"{report.signed_up} were answered, {tenants} are active")
    except AssertionError as error:
        report.wrong.append(str(error))
    finally:
        watching.cancel()
        await owner.close()


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; 0 where all invariants hold, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.soak", description=__doc__)
    parser.add_argument("--signups", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--deliveries", type=int, default=100_000, help="random ones among them")
    parser.add_argument(
        "--cancelled", type=int, default=100_000, help="requests cancelled at random after them"
    )
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args(arguments)
    say(
        f"{options.signups} sign-ups in {options.seconds:g} s among {options.deliveries} random deliveries,"
        f" seed {options.seed}"
    )
    home = Path(tempfile.mkdtemp(prefix="soak-"))
    plan = Plan(options.signups, options.seconds, options.seed, deliveries=options.deliveries)
    for part in ("faults", "cancelled"):
        (home / part).mkdir()
    report = asyncio.run(soak(plan, home / "faults", say))
    report.wrong += asyncio.run(
        cancellations.run(home / "cancelled", seed=options.seed, count=options.cancelled, say=say)
    )
    say(
        f"{report.signed_up} sign-ups ({report.repeats} asked again), killed {dict(report.kills)},"
        f" {report.heard} events heard, {report.strange} random deliveries, {report.looks} looks at what is in"
        f" hand ({report.differed} samples differed under way), {report.seconds:.0f} s"
    )
    for line in report.wrong:
        say(f"WRONG {line}")
    if report.wrong:
        say(f"logs: {home}")
        return 1
    shutil.rmtree(home, ignore_errors=True)
    say("all invariants hold")
    return 0


if __name__ == "__main__":
    sys.exit(main())
