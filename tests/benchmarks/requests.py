"""Tenant requests: Tenantry beside ceilings and what people use, on the same server, by turns."""

from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import fleet, loads, shops, stacks
from tests.benchmarks.client import Job
from tests.benchmarks.figures import Figure, figure
from tests.benchmarks.fleet import Member
from tests.benchmarks.loads import ADD, CHANGE, PAGE, READ, Operation
from tests.benchmarks.plan import Plan
from tests.benchmarks.servers import Servers
from tests.benchmarks.stacks import Stack

Line = tuple[str, Stack, Job]

_CEILING = "ceiling"


async def measure(servers: Servers, plan: Plan, home: Path) -> list[Figure]:
    """Ask for one row, for a page, and for changes."""
    config, members = servers.config, list[Member]()
    await fleet.grow(config, members, plan.tenants)
    await fleet.fill(config, members[0], plan.tenants)
    fixed = stacks.ceilings(config, home, members[0], plan.tenants)
    own = stacks.tenantry(config, home, members)
    limited = stacks.tenantry(config, home, members, limits=True)
    people = []
    if stacks.have_others():
        people = stacks.others(await shops.make(servers.superuser_url, plan.tenants), home, plan.tenants)
    async with loads.serving([*fixed, own, limited, *people]):
        logins = [member.target(login=True) for member in members]
        more = [
            (f"{own.name}, zipf", own, loads.job(own, READ, plan, draw="zipf")),
            (f"{own.name}, log-in", own, loads.job(own, READ, plan, targets=logins)),
            (limited.name, limited, loads.job(limited, READ, plan)),
        ]
        figures = await _compare(
            READ, plan, _lines(READ, plan, [*fixed, own]) + more + _lines(READ, plan, people)
        )
        for operation in (PAGE, ADD, CHANGE):
            figures += await _compare(operation, plan, _lines(operation, plan, [fixed[0], own, *people]))
    return figures


def _lines(operation: Operation, plan: Plan, asked: Sequence[Stack]) -> list[Line]:
    return [(stack.name, stack, loads.job(stack, operation, plan)) for stack in asked]


async def _compare(operation: Operation, plan: Plan, lines: list[Line]) -> list[Figure]:
    """Measure by turns, and compare with the first line."""
    found = await loads.by_turns([(stack, job) for _, stack, job in lines], plan)
    section = f"{operation.name}, {plan.tenants:,} tenants"
    return [
        figure(section, name, rounds.of, base=found[0].of if at else None, of=_CEILING if at else "")
        for at, ((name, *_), rounds) in enumerate(zip(lines, found, strict=True))
    ]
