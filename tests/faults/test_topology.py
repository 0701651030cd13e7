"""A part of the topology is deleted behind the provisioner's back: it is declared again within a heartbeat."""

import asyncio
from collections.abc import Awaitable, Callable

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import ChannelClosed, PublishError
from msgspec.structs import replace

from db.local.servers.rabbitmq import RabbitNode
from db.settings import Settings
from provisioner import topology
from tests.faults.carrying import Clumsy, carrying
from tests.invariants import Healed
from tests.support import eventually, provisioning, serving, sign_up

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(120)]

Deletion = Callable[[AbstractChannel], Awaitable[object]]


def an_exchange(name: str) -> Deletion:
    return lambda channel: channel.exchange_delete(name)


def a_queue(name: str) -> Deletion:
    return lambda channel: channel.queue_delete(name)


def a_binding(queue: topology.Queue) -> Deletion:
    async def unbind(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue.name, ensure=False)).unbind(queue.exchange, queue.key)

    return unbind


DELETIONS: dict[str, Deletion] = {
    **{f"exchange {name}": an_exchange(name) for name in topology.EXCHANGES},
    **{f"queue {queue.name}": a_queue(queue.name) for queue in topology.QUEUES},
    **{f"binding of {queue.name}": a_binding(queue) for queue in topology.QUEUES},
}


async def topology_is_whole(url: str) -> bool:
    """Return whether all exchanges are there, and what is published to each queue's finds the queue."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(on_return_raises=True)
        try:
            await channel.get_exchange(topology.EVENTS)
            for queue in topology.QUEUES:
                target = await channel.get_exchange(queue.exchange)
                await target.publish(aio_pika.Message(b"?"), queue.key, mandatory=True)
        except (PublishError, ChannelClosed):
            return False
        return True


@pytest.mark.parametrize("name", DELETIONS)
async def test_what_was_deleted_alone_is_declared_again_within_a_heartbeat(
    rabbit_config: Settings, channel: AbstractChannel, healed: Healed, name: str
) -> None:
    # Nothing else may notice: no command is on its way, and none is published again.
    config = replace(rabbit_config, heartbeat_interval=1.0, republish_after=3600.0)
    url = config.require("amqp_url")
    async with serving(config) as api, provisioning(config):
        await sign_up(api, "before")
        await healed(amqp_url=url)
        assert await topology_is_whole(url)

        async def broken() -> bool:
            await DELETIONS[name](channel)  # once more, if a heartbeat came before the look
            return not await topology_is_whole(url)

        async def whole_again() -> bool:
            return await topology_is_whole(url)

        await eventually(broken, within=5, what="something missing")
        await eventually(whole_again, within=5, what="the topology whole")
        await sign_up(api, "after")
        await healed(amqp_url=url)


def sets(event: asyncio.Event) -> Callable[[object], None]:
    """Return a callback that sets an event."""
    return lambda _: event.set()


async def ignore(_: AbstractIncomingMessage) -> None:
    """Receive a message and do nothing."""


async def test_consumers_hear_that_their_queue_was_deleted_however_soon_it_is_declared_again(
    rabbit: RabbitNode, channel: AbstractChannel
) -> None:
    """Of a queue that is declared at once the broker tells nothing, and its messages go nowhere."""
    await topology.declare(channel)
    async with await aio_pika.connect(rabbit.url) as connection, await aio_pika.connect(rabbit.url) as other:
        for queue in topology.QUEUES:
            consuming, cancelled = await connection.channel(), asyncio.Event()
            underlay = await consuming.get_underlay_channel()
            underlay.on_consumer_cancel_callbacks.add(sets(cancelled))
            await (await consuming.get_queue(queue.name)).consume(ignore)
            await channel.queue_delete(queue.name)
            await topology.restore(other)
            assert cancelled.is_set()
            assert await topology_is_whole(rabbit.url)


async def test_every_provisioner_consumes_from_a_queue_that_came_back(
    rabbit_config: Settings, channel: AbstractChannel
) -> None:
    first, second = Clumsy(), Clumsy()
    first.free.set()
    second.free.set()
    often = 0.005  # were queues declared then, it would be before the broker has told of a deletion
    async with (
        carrying(rabbit_config, first, bind_every=often),
        carrying(rabbit_config, second, bind_every=often),
    ):
        exchange = await channel.get_exchange(topology.SIGNUP)

        async def both_take() -> bool:
            # Between deletion and declaration there is no queue, so not mandatory.
            await exchange.publish(aio_pika.Message(b"?"), topology.SIGNUP_KEY, mandatory=False)
            return bool(first.taken and second.taken)

        for _ in range(4):
            for queue in topology.QUEUES:
                await channel.queue_delete(queue.name)
            first.taken.clear()
            second.taken.clear()
            await eventually(both_take, what="both receive")
        assert not first.errors
