"""Latencies of tenants' requests while ten tenants a second are provisioned, beside the same without."""

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path

import asyncpg
import msgspec

from tests.benchmarks import fleet, loads, stacks
from tests.benchmarks.figures import Figure, figure
from tests.benchmarks.fleet import Member
from tests.benchmarks.loads import READ, Rounds
from tests.benchmarks.plan import Plan
from tests.benchmarks.servers import Servers
from tests.processes import a_provisioner, running
from tests.support import eventually, signed_up

_SECTION = "GET one at a fixed rate, while tenants are provisioned"
_TENANTS = 100
_SIGNUPS = 10.0
"""A second."""
_SHARE = 0.25
"""Of the rate that saturates the machine, so that latencies are those of requests, not of a queue."""
_LONGER = 3.0
"""Times the plan's seconds, as a percentile needs many requests."""


async def measure(servers: Servers, plan: Plan, home: Path) -> list[Figure]:
    """Ask at a fixed rate, by turns with and without sign-ups."""
    config, members = msgspec.structs.replace(servers.config, log_level="error"), list[Member]()
    await fleet.grow(config, members, _TENANTS)
    own = stacks.tenantry(config, home, members)
    idle, busy, provisioned = Rounds(), Rounds(), list[float]()
    owner = await asyncpg.connect(config.require("owner_database_url"))
    try:
        async with loads.serving([own]), running(a_provisioner(config, home / "provisioner.log")):
            job = loads.job(own, READ, plan)
            await loads.run(loads.once(job))
            most = await loads.run(job)
            steady = msgspec.structs.replace(
                job, rate=round(most.per_second * _SHARE, 1), seconds=plan.seconds * _LONGER
            )
            await _while_provisioning(owner, loads.timed(own, steady, Rounds()), "warm")
            for number in range(plan.rounds):
                await loads.timed(own, steady, idle)
                load = loads.timed(own, steady, busy)
                provisioned.append(await _while_provisioning(owner, load, f"busy{number}"))
    finally:
        await owner.close()
    for rounds in (idle, busy):
        del rounds.of["cpu_ms"]  # at a low rate most of it is the program's own upkeep
    note = f"{sum(provisioned) / len(provisioned):.1f} tenants/s became active"
    return [
        figure(_SECTION, "idle", idle.of),
        figure(_SECTION, "busy", busy.of, by="p99_ms", base=idle.of, of="p99 idle", note=note),
    ]


async def _while_provisioning(
    owner: asyncpg.Connection, asking: Coroutine[None, None, None], prefix: str
) -> float:
    """Let tenants sign up while a load runs; return how many a second became active meanwhile.

    Raises:
        AssertionError: not all became active.
    """
    count = "SELECT count(*) FROM shared.tenants WHERE status = 'active' AND starts_with(slug, $1)"
    load = asyncio.create_task(asking)
    started, number = time.perf_counter(), 0
    while not load.done():
        async with owner.transaction():
            await signed_up(owner, f"{prefix}-{number}")
        number += 1
        await asyncio.wait([load], timeout=max(started + number / _SIGNUPS - time.perf_counter(), 0))
    took = time.perf_counter() - started
    active = int(await owner.fetchval(count, prefix))

    async def all_active() -> bool:
        return bool(await owner.fetchval(count, prefix) == number)

    await eventually(all_active, within=60, what="all are active")
    await load
    return active / took
