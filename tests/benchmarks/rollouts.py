"""A revision brought to the fleet by a rollout, beside the same DDL run by psql, and a rollout with nothing to do."""

import asyncio
import time
from pathlib import Path
from typing import Final

import asyncpg
import msgspec

from db.control import rollout_acts, rollout_orders, rollouts
from db.migrations.lineage import Lineage
from db.migrations.lineages import lineage
from db.migrations.render import render
from db.session.connection import migration_path
from db.settings import Settings
from tests.benchmarks import fleet, provisioning
from tests.benchmarks.figures import Figure, figure, percentile
from tests.benchmarks.fleet import Member
from tests.benchmarks.plan import Plan
from tests.benchmarks.servers import Servers, say
from tests.migrations import release
from tests.processes import a_provisioner, running
from tests.support import BY_TEST, eventually

_SESSIONS: Final = 2
_REVISION: Final = "\ndef upgrade():\n    op.execute('ALTER TABLE users ADD COLUMN note{number} text')\n"
_NOTHING: Final = 20
"""Rollouts with nothing to do, of which the middle one counts."""


async def measure(servers: Servers, plan: Plan, home: Path) -> list[Figure]:
    """Let psql and a rollout bring one revision after the other to all tenants, by turns, at each size."""
    bodies = [_REVISION.format(number=number) for number in range(2 * plan.rounds * len(plan.fleet_sizes))]
    place = home / "release"
    place.mkdir()
    config = msgspec.structs.replace(release(servers.config, place, *bodies), log_level="error")
    chain, members, figures = lineage("tenant", config.alembic_config), list[Member](), list[Figure]()
    owner = await asyncpg.connect(config.require("owner_database_url"))
    number = 0
    first: float | None = None
    try:
        for size in plan.fleet_sizes:
            say(f"fleet: making tenants, up to {size:,}")
            await fleet.grow(servers.config, members, size)
            await _catch_up(owner, config, chain, number, home)
            found: dict[str, list[float]] = {"psql": [], "rollout": []}
            async with running(a_provisioner(config, home / "provisioner.log")) as provisioner:
                for _ in range(plan.rounds):
                    found["psql"].append(size / await _by_psql(owner, config, chain, number + 1, home))
                    found["rollout"].append(size / await _rolled_out(owner, chain, f"r{number + 2}"))
                    number += 2
                nothing = [await _rolled_out(owner, chain, f"r{number}") * 1000 for _ in range(_NOTHING)]
                await asyncio.to_thread(provisioner.stop)
            section = f"The fleet of {size:,} tenants by one revision"
            base = {"per_second": found["psql"]}
            line = figure(section, "rollout", {"per_second": found["rollout"]}, base=base, of="psql")
            ratio = line.ratio or 0.0
            first = first or ratio
            note = (
                f"{ratio / first:.2f} of {plan.fleet_sizes[0]:,} tenants'"
                if size != plan.fleet_sizes[0]
                else ""
            )
            spread = {"p50_ms": [percentile(nothing, 0.5)], "p99_ms": [percentile(nothing, 0.99)]}
            figures += [
                figure(section, "psql, the same DDL", base, note=f"{_SESSIONS} sessions"),
                msgspec.structs.replace(line, note=note),
                figure(section, "rollout with nothing to do", spread),
            ]
    finally:
        await owner.close()
    return figures


async def _catch_up(
    owner: asyncpg.Connection, config: Settings, chain: Lineage, number: int, home: Path
) -> None:
    """Bring new tenants to where the others are."""
    if number:
        await _by_psql(owner, config, chain, number, home)


async def _by_psql(
    owner: asyncpg.Connection, config: Settings, chain: Lineage, number: int, home: Path
) -> float:
    """Let psql bring all tenants that are behind to a revision, and return the seconds that it took."""
    target = f"r{number}"
    rows = await owner.fetch("SELECT schema_name, revision FROM shared.tenants WHERE revision <> $1", target)
    scripts = {
        revision: render(chain, revision, target).sql for revision in {row["revision"] for row in rows}
    }
    texts = [
        f"BEGIN;\nSET LOCAL search_path TO {migration_path(row['schema_name'])};\n{scripts[row['revision']]}\nCOMMIT;\n"
        for row in rows
    ]
    took = await provisioning.by_psql(config, texts, _SESSIONS, home)
    await owner.execute("UPDATE shared.tenants SET revision = $1", target)
    return took


async def _rolled_out(owner: asyncpg.Connection, chain: Lineage, target: str) -> float:
    """Roll a revision out to all tenants in one wave, and return the seconds from the order to its end."""
    order = rollout_orders.order(chain, target=target, canary=0, wave="100%", concurrency=_SESSIONS)
    started = time.perf_counter()
    async with owner.transaction():
        begun = await rollout_acts.start(owner, BY_TEST, order)

    async def over() -> bool:
        status = await owner.fetchval("SELECT status FROM shared.rollouts WHERE id = $1", begun.id)
        if status == "halted":
            raise RuntimeError((await rollouts.get(owner, begun.id)).note)
        return bool(status == "finished")

    await eventually(over, within=600, what="a rollout's end")
    return time.perf_counter() - started
