"""Whatever a consumer raises, each delivery is settled or given back, and what is neither ends the process."""

import asyncio
from collections.abc import Callable

import aio_pika
import asyncpg
import pytest
from aio_pika.abc import AbstractChannel
from msgspec.structs import replace

from db.local.servers.rabbitmq import RabbitNode
from db.settings import Settings
from provisioner import topology
from provisioner.__main__ import run
from provisioner.rabbit import Rabbit
from provisioner.upkeep import StuckError
from tests.broker import unacknowledged
from tests.faults.carrying import Clumsy, carrying
from tests.support import eventually, requested, serving

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(120)]

ERRORS: dict[str, Callable[[], Exception]] = {
    "RecursionError": lambda: RecursionError("too deep"),
    "RuntimeError": lambda: RuntimeError("a defect"),
    "OSError": lambda: OSError("a defect"),
    "TimeoutError": lambda: TimeoutError("a defect"),
    "StopAsyncIteration": lambda: StopAsyncIteration("a defect"),
    "KeyError": lambda: KeyError("a defect"),
}


async def send(channel: AbstractChannel, count: int) -> None:
    await topology.declare(channel)
    exchange = await channel.get_exchange(topology.SIGNUP)
    for number in range(count):
        await exchange.publish(aio_pika.Message(b"%d" % number), topology.SIGNUP_KEY)


async def equal(carrier: Rabbit, node: RabbitNode, count: int) -> None:
    """Wait until the transport and the broker agree on a number in hand."""

    async def agreed() -> bool:
        assert (carrier.in_hand, await unacknowledged(node)) == (count, count)
        return True

    await eventually(agreed, what=f"{count} in hand")


@pytest.mark.parametrize("name", ERRORS)
async def test_whatever_is_raised_the_message_comes_again_and_is_settled(
    rabbit_config: Settings, rabbit: RabbitNode, channel: AbstractChannel, name: str
) -> None:
    await send(channel, 1)
    consumer = Clumsy(ERRORS[name]())
    consumer.free.set()
    async with carrying(rabbit_config, consumer) as carrier:

        async def taken() -> bool:
            return consumer.taken == [b"0"]

        await eventually(taken, what="the second delivery taken")
        assert not consumer.errors
        await equal(carrier, rabbit, 0)


async def test_in_hand_is_what_the_broker_counts_as_unacknowledged(
    rabbit_config: Settings, rabbit: RabbitNode, channel: AbstractChannel
) -> None:
    await send(channel, 8)
    consumer = Clumsy()
    async with carrying(rabbit_config, consumer) as carrier:
        await equal(carrier, rabbit, 5)  # as many as are prefetched
        assert carrier.held_for > 0
        consumer.free.set()
        await equal(carrier, rabbit, 0)
        assert len(consumer.taken) == 8
        assert carrier.held_for == 0


async def test_a_delivery_that_cannot_be_settled_is_given_back_with_its_channel(
    rabbit_config: Settings, rabbit: RabbitNode, channel: AbstractChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(channel, 1)
    consumer = Clumsy()
    consumer.free.set()
    acknowledge = aio_pika.message.IncomingMessage.ack
    failed = asyncio.Event()

    async def fail_once(message: aio_pika.message.IncomingMessage, multiple: bool = False) -> None:
        if not failed.is_set():
            failed.set()
            raise RecursionError("a defect")
        await acknowledge(message, multiple)

    monkeypatch.setattr(aio_pika.message.IncomingMessage, "ack", fail_once)
    async with carrying(rabbit_config, consumer) as carrier:

        async def again() -> bool:
            return consumer.taken == [b"0", b"0"]

        await eventually(again, what="the second delivery")
        assert failed.is_set()
        await equal(carrier, rabbit, 0)


async def test_a_message_in_hand_for_too_long_ends_the_process(
    rabbit_config: Settings, owner: asyncpg.Connection
) -> None:
    config = replace(rabbit_config, delivery_timeout=1.0, migration_lock_timeout=60.0)
    async with serving(config) as api:
        await requested(api, "slow")
        async with owner.transaction():
            await owner.execute("LOCK TABLE shared.pending_admins IN SHARE MODE")
            with pytest.raises(StuckError, match="in hand for more than 1 s"):
                await asyncio.wait_for(run(config, asyncio.Event()), 40)
