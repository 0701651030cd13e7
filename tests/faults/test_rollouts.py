"""A provisioner or the broker is killed in the middle of a wave: each tenant is moved once all the same."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

from db.local.servers.rabbitmq import RabbitNode
from db.settings import Settings
from tests.invariants import Healed
from tests.migrations import SCRIPT, registered, release
from tests.processes import Forked
from tests.rollouts import Fleet, moved
from tests.support import eventually, provisioning, serving, sign_up

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(120)]

SHOPS = 20


@asynccontextmanager
async def under_way(
    config: Settings, owner: asyncpg.Connection, headers: dict[str, str], folder: Path
) -> AsyncIterator[tuple[Settings, Fleet, str, Forked]]:
    """Yield a rollout, and the provisioner's process that is in the middle of its wave."""
    async with serving(config) as api, provisioning(config):
        await asyncio.gather(*(sign_up(api, f"shop{number}") for number in range(SHOPS)))
    newer = release(
        replace(config, republish_after=2.0, heartbeat_timeout=2.0, relay_lease=2.0), folder, SCRIPT
    )
    async with serving(newer) as api:
        fleet = Fleet(api, headers)
        rollout_id = await fleet.begins(target="head", canary=0, wave=SHOPS, rate=10)
        process = Forked(newer)
        await process.start()

        async def some() -> bool:
            return 0 < await moved(owner) < SHOPS

        await eventually(some, what="a wave that is under way")
        yield newer, fleet, rollout_id, process


async def each_once(owner: asyncpg.Connection) -> None:
    """Check that each tenant was moved by one transaction."""
    events = await owner.fetchrow(
        "SELECT count(*) AS all, count(DISTINCT tenant_id) AS tenants FROM shared.messages"
        " WHERE type = 'tenant.migrated' AND payload->'data'->>'revision' = 'r1'"
    )
    assert events is not None
    assert (events["all"], events["tenants"]) == (SHOPS, SHOPS)


async def test_a_provisioner_is_killed_in_the_middle_of_a_wave(
    rabbit_config: Settings,
    owner: asyncpg.Connection,
    as_operator: dict[str, str],
    tmp_path: Path,
    healed: Healed,
) -> None:
    async with under_way(rabbit_config, owner, as_operator, tmp_path) as (newer, fleet, rollout_id, process):
        await process.kill()
        assert await moved(owner) < SHOPS
        another = Forked(newer)
        await another.start()
        finished = await fleet.becomes(rollout_id, "finished", within=60)
        await healed(amqp_url=newer.amqp_url)
        await another.stop()
    assert finished["tenants"]["done"] == SHOPS
    await each_once(owner)


async def test_a_provisioner_dies_after_its_rollout_was_aborted(
    rabbit_config: Settings, owner: asyncpg.Connection, as_operator: dict[str, str], tmp_path: Path
) -> None:
    async with under_way(rabbit_config, owner, as_operator, tmp_path) as (newer, fleet, rollout_id, process):
        waiting = await fleet.tenants(rollout_id, "waiting")
        tables = [f"{(await registered(owner, each['slug'])).schema_name}.users" for each in waiting]
        async with owner.transaction():
            await owner.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS SHARE MODE")

            async def in_hand() -> bool:
                return bool((await fleet.sees(rollout_id))["tenants"]["running"])

            await eventually(in_hand, what="a tenant in hand")
            assert await fleet.has("abort", rollout_id) == "aborted"
            await process.kill()
            # PostgreSQL would carry out what it was sent.
            assert await owner.fetch("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted")
        assert (await fleet.sees(rollout_id))["tenants"]["running"] > 0
        another = Forked(newer)
        await another.start()
        left = await fleet.rests(rollout_id)
        await another.stop()
    assert left["status"] == "aborted"
    assert left["tenants"]["done"] == await moved(owner) < SHOPS
    assert left["tenants"]["done"] + left["tenants"]["waiting"] == SHOPS


async def test_the_broker_is_killed_in_the_middle_of_a_wave(
    rabbit_config: Settings,
    rabbit: RabbitNode,
    owner: asyncpg.Connection,
    as_operator: dict[str, str],
    tmp_path: Path,
    healed: Healed,
) -> None:
    async with under_way(rabbit_config, owner, as_operator, tmp_path) as (newer, fleet, rollout_id, process):
        await asyncio.to_thread(rabbit.sync)
        await asyncio.to_thread(rabbit.kill)
        assert not rabbit.alive
        await asyncio.to_thread(rabbit.start)
        finished = await fleet.becomes(rollout_id, "finished", within=60)
        await healed(amqp_url=newer.amqp_url)
        await process.stop()
    assert finished["tenants"]["done"] == SHOPS
    await each_once(owner)
