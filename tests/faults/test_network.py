"""The network between provisioner and broker: routes that vanish, answers that never come."""

import asyncio
from uuid import UUID

import asyncpg
import pytest
from aio_pika.abc import AbstractChannel
from msgspec.structs import replace

from db.settings import Settings
from provisioner import topology
from provisioner.rabbit import Rabbit
from tests.faults.relaying import Deaf, relaying
from tests.invariants import Healed
from tests.listener import Heard, waiting
from tests.processes import forked
from tests.proxy import ACK, Proxy
from tests.support import becomes, eventually, provisioning, requested, serving, sign_up

pytestmark = pytest.mark.rabbitmq


async def test_a_lost_route_is_noticed_by_heartbeat_and_publishing_stays_bounded(
    rabbit_config: Settings, owner: asyncpg.Connection, proxy: Proxy, healed: Healed
) -> None:
    config = replace(
        rabbit_config,
        amqp_url=proxy.through(rabbit_config.require("amqp_url")) + "?heartbeat=1",
        publish_timeout=1,
    )
    async with serving(config) as api, provisioning(config):
        await sign_up(api, "before")
        assert proxy.freeze() == 2  # one to publish, one to consume
        tenant = await requested(api, "during")

        async def given_up() -> str:
            return str(await owner.fetchval("SELECT max(last_error) FROM shared.messages") or "")

        assert "no confirm in time" in await eventually(given_up, within=5, what="a bounded publish")
        await becomes(api, tenant, "active", within=30)
        await healed(amqp_url=rabbit_config.amqp_url)


async def test_a_cancellation_that_is_lost_while_it_connects_does_not_keep_it_running(
    rabbit_config: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.11's ``wait_for`` returns its result instead where both come at once; aiormq connects in it."""
    reached, lost = asyncio.Event(), False
    declare = topology.declare

    async def deaf(channel: AbstractChannel) -> None:
        nonlocal lost
        reached.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost = True
        await declare(channel)

    monkeypatch.setattr(topology, "declare", deaf)
    carrier = Rabbit(rabbit_config.require("amqp_url"), prefetch=1, concurrency=1, publish_timeout=5)
    running = asyncio.create_task(carrier.run(Deaf()))
    await asyncio.wait_for(reached.wait(), 20)
    await carrier.stop_receiving()
    await carrier.abandon()
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=20)
    assert lost
    assert done


async def test_a_lost_confirm_means_a_second_copy_and_one_effect(
    rabbit_config: Settings,
    owner: asyncpg.Connection,
    proxy: Proxy,
    channel: AbstractChannel,
    heard: Heard,
    healed: Healed,
) -> None:
    config = replace(rabbit_config, publish_timeout=1)
    async with serving(config) as api:
        async with relaying(config, proxy.through(config.require("amqp_url"))) as relay:
            tenant = await requested(api, "bakery")
            proxy.swallowing.add(("down", ACK))
            assert await relay.publish_due() == 2  # the command and the event of the sign-up
            assert proxy.swallowed[ACK] >= 1
            rows = await owner.fetch("SELECT status, last_error FROM shared.messages")
            assert {tuple(row) for row in rows} == {("pending", "no confirm in time")}
            proxy.swallowing.clear()

            async def marked() -> bool:
                await relay.publish_due()
                rows = await owner.fetch("SELECT status FROM shared.messages")
                return {row["status"] for row in rows} == {"published"}

            await eventually(marked, what="published again")

        async def two_copies() -> bool:
            return await waiting(channel) == 2

        await eventually(two_copies, what="two copies in the queue")
        async with provisioning(config):
            await becomes(api, tenant, "active")
            await healed(amqp_url=config.amqp_url)
    event = await owner.fetchval("SELECT id FROM shared.messages WHERE type = 'tenant.requested'")
    assert heard.times(UUID(str(event))) == 2


async def test_killed_after_the_commit_and_before_the_ack(
    rabbit_config: Settings,
    owner: asyncpg.Connection,
    proxy: Proxy,
    channel: AbstractChannel,
    healed: Healed,
) -> None:
    async with serving(rabbit_config) as api:
        proxy.swallowing.add(("up", ACK))
        url = proxy.through(rabbit_config.require("amqp_url"))
        async with forked(replace(rabbit_config, amqp_url=url, relay_lease=1.0)) as first:
            tenant = await requested(api, "bakery")
            await becomes(api, tenant, "active", within=30)

            async def swallowed() -> bool:
                return proxy.swallowed[ACK] > 0

            await eventually(swallowed, what="an ack that never arrives")
            await first.kill()
        assert await eventually(lambda: waiting(channel), what="the command back in its queue") == 1
        before = await owner.fetchrow("SELECT version, revision FROM shared.tenants")
        async with provisioning(rabbit_config):
            await healed(amqp_url=rabbit_config.amqp_url)
        assert await owner.fetchrow("SELECT version, revision FROM shared.tenants") == before
        attempts = await owner.fetchval("SELECT attempts FROM shared.messages WHERE kind = 'command'")
        assert attempts == 1


async def test_a_slow_and_broken_network_loses_nothing(
    rabbit_config: Settings, proxy: Proxy, healed: Healed
) -> None:
    config = replace(rabbit_config, amqp_url=proxy.through(rabbit_config.require("amqp_url")))
    proxy.delay = 0.005
    async with serving(config) as api, provisioning(config):
        tenants = []
        for number in range(9):
            tenants.append(await requested(api, f"shop{number}"))
            if number % 3 == 2:

                async def connected() -> bool:
                    return proxy.connections == 2

                await eventually(connected, what="both connections")
                assert proxy.cut() == 2
        for tenant in tenants:
            await becomes(api, tenant, "active", within=40)
        await healed(amqp_url=rabbit_config.amqp_url)


async def test_one_direction_gone(rabbit_config: Settings, proxy: Proxy, healed: Healed) -> None:
    config = replace(
        rabbit_config,
        amqp_url=proxy.through(rabbit_config.require("amqp_url")) + "?heartbeat=1",
        publish_timeout=1,
    )
    async with serving(config) as api, provisioning(config):
        await sign_up(api, "before")
        proxy.mute("down")
        tenant = await requested(api, "during")
        await becomes(api, tenant, "active", within=30)
        await healed(amqp_url=rabbit_config.amqp_url)
