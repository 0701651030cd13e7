"""From the sign-up's answer to an active tenant, through RabbitMQ, beside the rendered DDL alone."""

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
from tests.benchmarks.servers import Figure, Servers, milliseconds
from tests.processes import a_provisioner, running
from tests.support import Client, eventually, requested, serving, sign_up, status

_SIGNUPS = 100
_PAUSE = 0.1


async def measure(servers: Servers, home: Path) -> list[Figure]:
    """Sign up and run the DDL by turns, at a low rate."""
    whole, alone = [], []
    config = msgspec.structs.replace(servers.config, log_level="error")
    owner = await asyncpg.connect(config.require("owner_database_url"))
    listener = await asyncpg.connect(config.require("owner_database_url"))
    changed = asyncio.Event()
    await listener.add_listener(listening.REGISTRY, lambda *_: changed.set())
    async with running(a_provisioner(config, home / "provisioner.log")), serving(config) as api:
        await sign_up(api, "warm")
        for number in range(_SIGNUPS):
            whole.append(await _signed_up(api, f"shop{number}", changed))
            await asyncio.sleep(_PAUSE)
            alone.append(await _built(owner, config.alembic_config))
            await asyncio.sleep(_PAUSE)
    await listener.close()
    await owner.close()
    ratio = sorted(whole)[_SIGNUPS // 2] / sorted(alone)[_SIGNUPS // 2]
    return [
        Figure("rendered DDL of one tenant, p50", milliseconds(alone, 0.50)),
        Figure("rendered DDL of one tenant, p99", milliseconds(alone, 0.99)),
        Figure("sign-up to active, p50", milliseconds(whole, 0.50), f"{ratio:.1f}"),
        Figure("sign-up to active, p99", milliseconds(whole, 0.99)),
    ]


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
    tenants = lineage("tenant", config)
    script = render(tenants, None, tenants.head)
    schema = names.new_schema_name()
    started = time.perf_counter()
    async with owner.transaction():
        await roles.create_schema(owner, schema)
        await run_script(owner, schema, script)
    took = time.perf_counter() - started
    async with owner.transaction():
        await roles.drop_schema(owner, schema)
    return took
