"""A part of the topology is deleted behind the provisioner's back: it is declared again within a heartbeat."""

from collections.abc import Awaitable, Callable

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelClosed, PublishError
from msgspec.structs import replace

from db.settings import Settings
from provisioner import topology
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


async def is_whole(url: str) -> bool:
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
        assert await is_whole(url)
        await DELETIONS[name](channel)
        assert not await is_whole(url)

        async def whole_again() -> bool:
            return await is_whole(url)

        await eventually(whole_again, within=5, what="the topology whole")
        await sign_up(api, "after")
        await healed(amqp_url=url)
