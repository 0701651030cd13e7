"""From the sign-up's answer to an active tenant, through RabbitMQ and in process, beside the rendered DDL alone."""

import asyncio
import time
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
_SECTION = "Sign-up to active"
_ALONE = "rendered DDL alone"

Rounds = dict[str, list[float]]


async def measure(servers: Servers, plan: Plan, home: Path) -> list[Figure]:
    """Sign up through each transport and run the DDL by turns, at a low rate."""
    through = {
        "through RabbitMQ": msgspec.structs.replace(servers.config, log_level="error"),
        "in process": msgspec.structs.replace(servers.config, log_level="error", amqp_url=None),
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
                took = []
                async with running(a_provisioner(config, home / "provisioner.log")) as provisioner:
                    async with serving(config) as api:
                        await sign_up(api, f"warm{number}-{len(found[name]['p50_ms'])}-{slugs[0]}")
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
