"""The broker refuses: out of memory, queue full, no queue to route to, a handler slower than its time limit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from aio_pika.abc import AbstractChannel
from msgspec.structs import replace

from db.local.servers.rabbitmq import RabbitNode
from db.settings import Settings
from provisioner import topology
from tests.faults.relaying import relaying
from tests.invariants import Healed
from tests.support import becomes, eventually, provisioning, requested, serving, sign_up, status

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(180)]


async def last_errors(owner: asyncpg.Connection) -> set[str]:
    """Return what kept commands from being published."""
    rows = await owner.fetch(
        "SELECT DISTINCT last_error FROM shared.messages WHERE status = 'pending' AND last_error IS NOT NULL"
    )
    return {row["last_error"] for row in rows}


@asynccontextmanager
async def evaluated(node: RabbitNode, before: str, after: str) -> AsyncIterator[None]:
    """Change something within the node, for as long as it is needed."""
    await asyncio.to_thread(node.ctl, "eval", before)
    try:
        yield
    finally:
        await asyncio.to_thread(node.ctl, "eval", after)


def settings(values: dict[str, int]) -> str:
    """Return what changes the server's settings while it runs."""
    return ", ".join(f"application:set_env(rabbit, {name}, {value})" for name, value in values.items()) + "."


async def test_a_memory_alarm_stops_publishing_and_no_signup(
    rabbit_config: Settings, rabbit: RabbitNode, owner: asyncpg.Connection, healed: Healed
) -> None:
    config = replace(rabbit_config, publish_timeout=1)
    low, usual = (
        f"vm_memory_monitor:set_vm_memory_high_watermark({{absolute, {size}}})." for size in (1, 512_000_000)
    )
    async with serving(config) as api, provisioning(config):
        await sign_up(api, "before")
        async with evaluated(rabbit, low, usual):
            tenant = await requested(api, "during")

            async def bounded() -> bool:
                return "no confirm in time" in await last_errors(owner)

            await eventually(bounded, what="a publish that was given up")
            assert await status(api, tenant) == "pending"
            await requested(api, "another")
        await becomes(api, tenant, "active", within=30)
        await healed(amqp_url=config.amqp_url)


async def test_a_full_queue_sends_commands_back_to_the_ledger(
    rabbit_config: Settings, rabbit: RabbitNode, owner: asyncpg.Connection, healed: Healed
) -> None:
    async with serving(rabbit_config) as api:
        tenants = [await requested(api, f"shop{number}") for number in range(12)]
        async with relaying(rabbit_config, rabbit.url, batch=1) as relay:
            policy = (
                "set_policy",
                "full",
                "tenantry.commands.v1",
                '{"max-length":1}',
                "--apply-to",
                "queues",
            )
            await asyncio.to_thread(rabbit.ctl, *policy)
            try:

                async def refused() -> bool:
                    await relay.publish_due()
                    return any("nacked" in error for error in await last_errors(owner))

                await eventually(refused, what="a refusal")
                rows = await owner.fetch(
                    "SELECT leased_until > now() AS later FROM shared.messages"
                    " WHERE status = 'pending' AND last_error LIKE 'nacked%'"
                )
                assert any(row["later"] for row in rows)
            finally:
                await asyncio.to_thread(rabbit.ctl, "clear_policy", "full")
        async with provisioning(rabbit_config):
            for tenant in tenants:
                await becomes(api, tenant, "active", within=40)
            await healed(amqp_url=rabbit_config.amqp_url)


async def test_an_unbound_queue_is_bound_again(
    rabbit_config: Settings, owner: asyncpg.Connection, channel: AbstractChannel, healed: Healed
) -> None:
    # Between two heartbeats, each of which would bind it again before anything is returned.
    config = replace(rabbit_config, heartbeat_interval=60)
    async with serving(config) as api, provisioning(config):
        await sign_up(api, "before")
        queue = await channel.get_queue(topology.COMMANDS_QUEUE, ensure=False)
        await queue.unbind(topology.COMMANDS, topology.COMMANDS_KEY)
        tenant = await requested(api, "during")

        async def returned() -> bool:
            return await last_errors(owner) == {"returned: no queue takes it"}

        await eventually(returned, what="a returned command")
        await becomes(api, tenant, "active")
        await healed(amqp_url=rabbit_config.amqp_url)


async def test_a_deleted_queue_is_declared_and_consumed_again(
    rabbit_config: Settings, channel: AbstractChannel, healed: Healed
) -> None:
    config = replace(rabbit_config, republish_after=1.0)
    async with serving(config) as api, provisioning(config):
        await sign_up(api, "before")
        for queue in topology.QUEUES:
            await channel.queue_delete(queue.name)
        await becomes(api, await requested(api, "during"), "active")
        await healed(amqp_url=config.amqp_url)


async def test_a_handler_slower_than_the_brokers_patience_has_one_effect(
    rabbit_config: Settings, rabbit: RabbitNode, owner: asyncpg.Connection, healed: Healed
) -> None:
    config = replace(rabbit_config, migration_lock_timeout=30.0)
    impatient = {"consumer_timeout": 1000, "channel_tick_interval": 500}
    usual = {"consumer_timeout": 1_800_000, "channel_tick_interval": 60_000}
    async with serving(config) as api, evaluated(rabbit, settings(impatient), settings(usual)):
        tenant = await requested(api, "slow")
        async with owner.transaction():
            await owner.execute("LOCK TABLE shared.pending_admins IN SHARE MODE")
            log = rabbit.log.stat().st_size
            async with provisioning(config):

                async def out_of_patience() -> bool:
                    return b"Timeout value used: 1000 ms" in rabbit.log.read_bytes()[log:]

                await eventually(out_of_patience, what="the broker's time-out")
                assert await status(api, tenant) == "provisioning"
                await owner.execute("COMMIT")
                await becomes(api, tenant, "active")
                await healed(amqp_url=config.amqp_url)
                await owner.execute("BEGIN")  # what the block ends
    assert await owner.fetchval("SELECT max(attempts) FROM shared.messages WHERE kind = 'command'") < 8
