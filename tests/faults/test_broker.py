"""RabbitMQ goes away, and comes back: no sign-up is lost and nobody has to help."""

import asyncio

import asyncpg
import pytest
from msgspec.structs import replace

from db.local.servers.rabbitmq import RabbitNode
from db.settings import Settings
from tests.support import Client, becomes, eventually, provisioning, requested, serving, sign_up, status

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(180)]


async def ready(api: Client) -> dict[str, object]:
    answer = await api.get("/health/ready")
    return {"code": answer.status_code, **answer.json()}


async def test_a_signup_while_the_broker_is_down_becomes_active_when_it_is_back(
    rabbit_config: Settings, rabbit: RabbitNode
) -> None:
    async with serving(rabbit_config) as api, provisioning(rabbit_config):
        await sign_up(api, "before")
        await asyncio.to_thread(rabbit.stop)

        async def degraded() -> bool:
            seen = await ready(api)
            return (seen["code"], seen["status"], seen["broker"]) == (200, "degraded", "down")

        await eventually(degraded, what="readiness degraded")
        tenant = await requested(api, "during")
        assert await status(api, tenant) == "pending"
        await asyncio.to_thread(rabbit.start)
        await becomes(api, tenant, "active", within=60)

        async def recovered() -> bool:
            return (await ready(api))["status"] == "ok"

        await eventually(recovered, what="readiness")


async def test_a_broker_that_is_down_at_the_start_is_waited_for(
    rabbit_config: Settings, rabbit: RabbitNode
) -> None:
    await asyncio.to_thread(rabbit.stop)
    async with serving(rabbit_config) as api, provisioning(rabbit_config):
        tenant = await requested(api, "early")
        await asyncio.to_thread(rabbit.start)
        await becomes(api, tenant, "active", within=60)


async def test_signups_survive_a_broker_killed_while_they_are_published(
    rabbit_config: Settings, rabbit: RabbitNode, owner: asyncpg.Connection
) -> None:
    async with serving(rabbit_config) as api, provisioning(rabbit_config):
        await sign_up(api, "before")
        await asyncio.to_thread(rabbit.sync)
        tenants = [await requested(api, f"shop{n}") for n in range(5)]
        await asyncio.to_thread(rabbit.kill)
        assert not rabbit.alive
        tenants += [await requested(api, f"late{n}") for n in range(3)]
        await asyncio.to_thread(rabbit.start)
        for tenant in tenants:
            await becomes(api, tenant, "active", within=60)
    schemas = await owner.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname ~ '^t_[a-z2-7]{16}$'")
    assert schemas == len(tenants) + 1
    twice = await owner.fetchval(
        "SELECT count(*) FROM (SELECT FROM shared.messages WHERE type = 'tenant.provisioned'"
        " GROUP BY tenant_id HAVING count(*) > 1) t"
    )
    assert twice == 0


async def test_a_broker_that_lost_its_disk_loses_no_command(
    rabbit_config: Settings, rabbit: RabbitNode, owner: asyncpg.Connection
) -> None:
    config = replace(rabbit_config, republish_after=1.0, heartbeat_timeout=2.0)
    async with serving(config) as api, provisioning(config):
        await sign_up(api, "before")  # the topology is there
    async with serving(config) as api:
        tenant = await requested(api, "lost")
        # As if it had been published to the broker, and the broker's disk were gone since.
        await owner.execute(
            "UPDATE shared.messages SET status = 'published', published_at = now() WHERE status = 'pending'"
        )
        await asyncio.to_thread(rabbit.stop)
        await asyncio.to_thread(rabbit.wipe)
        await asyncio.to_thread(rabbit.start)
        assert await status(api, tenant) == "pending"
        async with provisioning(config):
            await becomes(api, tenant, "active", within=60)
