"""From few tenants to many: the rate beside the ceiling's at each size, and the memory of worker and backends."""

from pathlib import Path

import msgspec

from tests.benchmarks import fleet, loads, memory, stacks
from tests.benchmarks.figures import Figure, figure
from tests.benchmarks.fleet import Member
from tests.benchmarks.loads import READ
from tests.benchmarks.plan import Plan
from tests.benchmarks.servers import Servers, say

_ROWS = 1_000


async def measure(servers: Servers, plan: Plan, home: Path) -> list[Figure]:
    """Grow the fleet, and measure the same at each size with a fresh worker.

    Sizes come one after the other, so each is compared with the ceiling by turns, and these ratios with each other.
    """
    config, members, figures = servers.config, list[Member](), list[Figure]()
    first: dict[str, float] = {}
    for size in plan.sizes:
        say(f"growth: making tenants, up to {size:,}")
        await fleet.grow(config, members, size)
        if size == plan.sizes[0]:
            await fleet.fill(config, members[0], _ROWS)
        ceiling = stacks.ceilings(config, home, members[0], _ROWS)[0]
        own = stacks.tenantry(config, home, members)
        section = f"Growth to {size:,} tenants, GET one"
        async with loads.serving([ceiling, own]):
            draws = {
                "uniform": loads.job(own, READ, plan),
                "zipf": loads.job(own, READ, plan, draw="zipf"),
            }
            asked = [(ceiling, loads.job(ceiling, READ, plan)), *((own, job) for job in draws.values())]
            base, *found = await loads.by_turns(asked, plan)
            figures.append(figure(section, ceiling.name, base.of))
            for draw, rounds in zip(draws, found, strict=True):
                line = figure(section, f"Tenantry, {draw}", rounds.of, base=base.of, of="ceiling")
                ratio = line.ratio or 0.0
                before = first.setdefault(draw, ratio)
                note = f"{ratio / before:.2f} of {plan.sizes[0]:,} tenants'" if size != plan.sizes[0] else ""
                figures.append(msgspec.structs.replace(line, note=note))
            figures += await memory.measure(servers, own, loads.job(own, READ, plan), section)
    return figures
