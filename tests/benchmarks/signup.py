"""From the sign-up's answer to an active tenant, beside the rendered DDL alone.

Through RabbitMQ, the same with schemas that are ready, and in process.
"""

import asyncio
import time
from functools import partial
from pathlib import Path

import asyncpg
import msgspec

from db import names
from db.migrations.lineages import lineage
from db.migrations.render import render
from db.migrations.run import run_script
from db.server import roles
from db.session import listening
from tests.benchmarks.figures import Figure, figure, percentile
from tests.benchmarks.plan import Plan
from tests.benchmarks.servers import Servers
from tests.processes import a_provisioner, running
from tests.support import Client, eventually, requested, serving, sign_up, status

_PAUSE = 0.1
_READY = 10
"""Schemas in the warm pool: more than sign-ups take until it is looked at again."""
_SECTION = "Sign-up to active"
_ALONE = "rendered DDL alone"

Rounds = dict[str, list[float]]


async def measure(servers: Servers, plan: Plan, home: Path) -> list[Figure]:
    """Sign up through each transport and run the DDL by turns, at a low rate."""
    quiet = msgspec.structs.replace(servers.config, log_level="error")
    through = {
        "through RabbitMQ": quiet,
        "through RabbitMQ, warm": msgspec.structs.replace(quiet, pool_schemas=_READY),
        "in process": msgspec.structs.replace(quiet, amqp_url=None),
    }
    found: dict[str, Rounds] = {name: {"p50_ms": [], "p99_ms": []} for name in (*through, _ALONE)}
    owner = await asyncpg.connect(servers.config.require("owner_database_url"))
    listener = await asyncpg.connect(servers.config.require("owner_database_url"))
    changed = asyncio.Event()
    await listener.add_listener(listening.PROGRESS, lambda *_: changed.set())
    try:
        for number in range(plan.rounds):
            alone: list[float] = []
            for name, config in through.items():
                slugs = [f"{name.split()[-1].lower()}{number}-{one}" for one in range(plan.signups)]
                full = partial(_is_full, owner, config.pool_schemas)
                took = []
                async with running(a_provisioner(config, home / "provisioner.log")) as provisioner:
                    async with serving(config) as api:
                        await sign_up(api, f"warm{number}-{len(found[name]['p50_ms'])}-{slugs[0]}")
                        await eventually(full, within=60, what="schemas that are ready, or none")
                        for slug in slugs:
                            took.append(await _signed_up(api, slug, changed))
                            await asyncio.sleep(_PAUSE)
                            alone.append(await _built(owner, config.alembic_config))
                            await asyncio.sleep(_PAUSE)
                    await asyncio.to_thread(provisioner.stop)
                _note(found[name], took)
            _note(found[_ALONE], alone)
    finally:
        await listener.close()
        await owner.close()
    base = found[_ALONE]
    return [
        figure(_SECTION, _ALONE, base),
        *(
            figure(_SECTION, name, found[name], by="p50_ms", base=base, of="p50 of the DDL")
            for name in through
        ),
    ]


async def _is_full(owner: asyncpg.Connection, size: int) -> bool:
    return bool(await owner.fetchval("SELECT count(*) = $1 FROM shared.pool_schemas", size))


def _note(rounds: Rounds, took: list[float]) -> None:
    rounds["p50_ms"].append(percentile(took, 0.50) * 1000)
    rounds["p99_ms"].append(percentile(took, 0.99) * 1000)


async def _signed_up(api: Client, slug: str, changed: asyncio.Event) -> float:
    """Return the seconds from the answer to an active tenant, of which PostgreSQL notifies."""
    tenant = await requested(api, slug)
    started = time.perf_counter()

    async def active() -> bool:
        changed.clear()
        if await status(api, tenant) == "active":
            return True
        await asyncio.wait_for(changed.wait(), 5)
        return False

    await eventually(active, what=slug)
    return time.perf_counter() - started


async def _built(owner: asyncpg.Connection, config: Path) -> float:
    """Return the seconds that role, schema and tables take, and drop them."""
    schema = names.new_schema_name()
    started = time.perf_counter()
    async with owner.transaction():
        await build(owner, config, schema)
    took = time.perf_counter() - started
    async with owner.transaction():
        await roles.drop_schema(owner, schema)
    return took


async def build(owner: asyncpg.Connection, config: Path, schema: names.SchemaName) -> None:
    """Make a tenant's role, schema and tables, in the caller's transaction."""
    chain = lineage("tenant", config)
    await roles.create_schema(owner, schema)
    await run_script(owner, schema, render(chain, None, chain.head))
