"""Bulk work takes all that it may take, and does not come to an end: a sign-up is active all the same."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

from db.control import tenants
from db.local.servers.rabbitmq import RabbitNode
from db.migrations.lineages import lineage
from db.settings import Settings
from tests.faults.relaying import relaying
from tests.invariants import Healed
from tests.migrations import SCRIPT, release
from tests.support import BY_TEST, becomes, eventually, provisioning, requested, serving, sign_up

ONLINE = f"online = True\n{SCRIPT}\n{SCRIPT.replace('upgrade', 'upgrade_empty')}"
SHOPS = 6
WAITING_FOR_A_TABLE = """
SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND NOT granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


async def all_asked(config: Settings, newer: Settings, owner: asyncpg.Connection) -> None:
    """Make tenants, and ask for all of them to be migrated to the revision of a newer release."""
    async with serving(config) as api, provisioning(config):
        await asyncio.gather(*(sign_up(api, f"shop{number}") for number in range(SHOPS)))
    chain = lineage("tenant", newer.alembic_config)
    async with owner.transaction():
        for number in range(SHOPS):
            await tenants.migrate(owner, f"shop{number}", BY_TEST, chain)


@contextlib.asynccontextmanager
async def no_end(config: Settings) -> AsyncIterator[None]:
    """Keep every migration of the tenants that are there from its end, by locks on their tables."""
    reader = await asyncpg.connect(config.require("owner_database_url"))
    try:
        async with reader.transaction():
            for row in await reader.fetch("SELECT schema_name FROM shared.tenants"):
                await reader.execute(f"LOCK TABLE {row['schema_name']}.users IN ACCESS SHARE MODE")
            yield
    finally:
        await reader.close()


async def migrating(owner: asyncpg.Connection, condition: str = "true") -> int:
    """Return the number of commands to migrate that are not handled."""
    count: int = await owner.fetchval(
        "SELECT count(*) FROM shared.messages"
        f" WHERE type = 'tenant.migrate' AND status <> 'handled' AND {condition}"
    )
    return count


async def at_work(owner: asyncpg.Connection, count: int) -> None:
    """Wait until so many migrations wait for their table."""

    async def probe() -> bool:
        return await owner.fetchval(WAITING_FOR_A_TABLE) == count  # type: ignore[no-any-return]

    await eventually(probe, what="bulk work that takes all that it may take")


async def all_migrated(owner: asyncpg.Connection) -> None:
    """Wait until all tenants are migrated, each at the first attempt."""

    async def probe() -> bool:
        return not await migrating(owner)

    await eventually(probe, within=60, what="the end of the bulk work")
    attempts = await owner.fetch("SELECT attempts FROM shared.messages WHERE type = 'tenant.migrate'")
    assert {row["attempts"] for row in attempts} == {1}


@pytest.mark.parametrize(
    ("body", "concurrency", "running"),
    [(ONLINE, 1, 1), (ONLINE, 3, 1), (SCRIPT, 3, 2)],
    ids=["online-1", "online-3", "script-3"],
)
async def test_a_sign_up_is_active_while_bulk_work_has_no_end(
    delivery: Settings,
    owner: asyncpg.Connection,
    healed: Healed,
    tmp_path: Path,
    body: str,
    concurrency: int,
    running: int,
) -> None:
    config = replace(delivery, provision_concurrency=concurrency, migration_lock_timeout=60.0)
    newer = release(config, tmp_path, body)
    await all_asked(config, newer, owner)
    async with serving(newer) as api, provisioning(newer):
        async with no_end(newer):
            await at_work(owner, running)
            for slug in ("late", "later"):
                await becomes(api, await requested(api, slug), "active")
            assert await migrating(owner) == SHOPS
            await at_work(owner, running)
        await all_migrated(owner)
        await healed(amqp_url=newer.amqp_url)


async def test_a_sign_up_overtakes_a_fleet_whose_revision_takes_its_time(
    delivery: Settings, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    """Nothing keeps the migrations from their ends here but the time that they take."""
    slow = ONLINE.replace("def upgrade():", 'def upgrade():\n    op.execute("SELECT pg_sleep(1)")')
    newer = release(delivery, tmp_path, slow)
    await all_asked(delivery, newer, owner)
    async with serving(newer) as api, provisioning(newer):

        async def sleeping() -> bool:
            found = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
            return bool(await owner.fetchval(f"{found} AND datname = current_database()"))

        await eventually(sleeping, what="a slow revision")
        await becomes(api, await requested(api, "late"), "active")
        await all_migrated(owner)
    order = await owner.fetch(
        "SELECT type FROM shared.messages WHERE kind = 'command' AND tenant_id IN"
        " (SELECT tenant_id FROM shared.messages WHERE type = 'tenant.migrate')"
        " OR kind = 'command' AND tenant_id = (SELECT id FROM shared.tenants WHERE slug = 'late')"
        " ORDER BY handled_at"
    )
    last = [row["type"] for row in order][SHOPS:]  # without the provisioning of the fleet itself
    assert last[last.index("tenant.provision") :].count("tenant.migrate") >= SHOPS / 2


@pytest.mark.rabbitmq
async def test_bulk_work_that_others_put_into_the_queue_ahead_of_it_does_not_delay_a_sign_up(
    rabbit_config: Settings,
    rabbit: RabbitNode,
    owner: asyncpg.Connection,
    healed: Healed,
    tmp_path: Path,
) -> None:
    """A consumer gives back what it has no room for, so that the broker hands it the sign-up."""
    config = replace(rabbit_config, prefetch=1, bulk_in_flight=2, migration_lock_timeout=60.0)
    newer = release(config, tmp_path, SCRIPT)
    await all_asked(config, newer, owner)
    async with relaying(newer, rabbit.url) as relay:  # it knows of no bound for bulk work
        assert await relay.publish_due() >= SHOPS
    assert await migrating(owner, "status = 'published'") == SHOPS
    async with serving(newer) as api, contextlib.AsyncExitStack() as provisioners:
        async with no_end(newer):
            tenant = await requested(api, "late")
            await provisioners.enter_async_context(provisioning(newer))
            await at_work(owner, 1)
            await becomes(api, tenant, "active")

            async def given_back() -> bool:
                return await migrating(owner, "status = 'pending' AND attempts = 0") == SHOPS - 2

            await eventually(given_back, what="bulk work that is given back")
            await provisioners.enter_async_context(provisioning(newer))
            await becomes(api, await requested(api, "later"), "active")
            assert await migrating(owner) == SHOPS
        await all_migrated(owner)
        await healed(amqp_url=newer.amqp_url)
