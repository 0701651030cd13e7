"""The broker's user for sign-up flows signs up and hears events, and does nothing else (threat 23)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractQueue
from aio_pika.exceptions import ChannelPreconditionFailed
from aiormq.exceptions import ChannelAccessRefused

from db.local.servers.rabbitmq import SIGNUP_PERMISSIONS, SIGNUP_USER, RabbitNode
from db.settings import PROJECT, Settings
from provisioner import topology
from provisioner.amqp import RefusedError, address, connect
from tests.flows import Flow
from tests.support import eventually, provisioning

pytestmark = pytest.mark.rabbitmq

Act = Callable[[AbstractChannel], Awaitable[object]]

QUEUES = [queue.name for queue in topology.QUEUES]
OTHERS = [name for name in topology.EXCHANGES if name != topology.SIGNUP]
OWN = "signup.flow"


def publishes(exchange: str, key: str, **properties: Any) -> Act:
    async def act(channel: AbstractChannel) -> None:
        target = await channel.get_exchange(exchange, ensure=False)
        await target.publish(aio_pika.Message(b"?", **properties), key, mandatory=False)

    return act


def on_queue(name: str, act: Callable[[AbstractQueue], Awaitable[object]]) -> Act:
    async def acts(channel: AbstractChannel) -> None:
        await act(await channel.get_queue(name, ensure=False))

    return acts


async def ignore(_: object) -> None:
    """Receive a message and do nothing."""


def declares_queue(name: str | None, **arguments: str) -> Act:
    return lambda channel: channel.declare_queue(name, exclusive=True, arguments=dict(arguments))


def declares_exchange(name: str, **arguments: str) -> Act:
    return lambda channel: channel.declare_exchange(name, auto_delete=True, arguments=dict(arguments))


def unbinds(queue: topology.Queue) -> Act:
    return on_queue(queue.name, lambda found: found.unbind(queue.exchange, queue.key))


def deletes_exchange(name: str) -> Act:
    return lambda channel: channel.exchange_delete(name)


def binds_own(exchange: str) -> Act:
    async def act(channel: AbstractChannel) -> None:
        await (await channel.declare_queue(OWN, exclusive=True)).bind(exchange, "#")

    return act


def binds_exchange(destination: str, source: str) -> Act:
    async def act(channel: AbstractChannel) -> None:
        target = await channel.get_exchange(destination, ensure=False)
        await target.bind(source, "#")

    return act


def dead_letters(exchange: str, key: str) -> Act:
    return declares_queue(OWN, **{"x-dead-letter-exchange": exchange, "x-dead-letter-routing-key": key})


REFUSED: dict[str, Act] = {
    **{f"publishing to {name}": publishes(name, topology.COMMANDS_KEY) for name in OTHERS},
    **{f"publishing straight to {name}": publishes("", name) for name in [*QUEUES, OWN]},
    **{f"publishing to {name}": publishes(name, "x") for name in ("amq.direct", "amq.topic", "amq.fanout")},
    **{f"getting from {name}": on_queue(name, lambda queue: queue.get(no_ack=True)) for name in QUEUES},
    **{f"consuming {name}": on_queue(name, lambda queue: queue.consume(ignore)) for name in QUEUES},
    **{f"purging {name}": on_queue(name, lambda queue: queue.purge()) for name in QUEUES},
    **{f"deleting {name}": on_queue(name, lambda queue: queue.delete(if_unused=False)) for name in QUEUES},
    **{f"unbinding {queue.name}": unbinds(queue) for queue in topology.QUEUES},
    **{f"deleting {name}": deletes_exchange(name) for name in topology.EXCHANGES},
    **{
        f"declaring queue {name}": declares_queue(name)
        for name in (*QUEUES, "tenantry.signup", "tenantry.signup.v2", "signup", "xsignup.flow", None)
    },
    **{
        f"declaring exchange {name}": declares_exchange(name)
        for name in (topology.SIGNUP, "tenantry.new", "signup")
    },
    **{
        f"binding its own queue to {name}": binds_own(name)
        for name in (topology.COMMANDS, topology.DEAD, topology.SIGNUP, "amq.rabbitmq.trace", "amq.topic")
    },
    **{
        f"having {name} fed": binds_exchange(name, topology.EVENTS)
        for name in (topology.COMMANDS, topology.DEAD, topology.EVENTS)
    },
    **{
        f"dead-lettering to {name or 'queues'}": dead_letters(name, key)
        for name, key in (
            (topology.COMMANDS, topology.COMMANDS_KEY),
            (topology.EVENTS, "tenant.provisioned"),
            (topology.DEAD, ""),
            ("", topology.COMMANDS_QUEUE),
        )
    },
    **{
        f"{name} as an alternate": declares_exchange("signup.exchange", **{"alternate-exchange": name})
        for name in OTHERS
    },
}


@pytest.fixture
async def declared(rabbit: RabbitNode) -> AsyncIterator[AbstractChannel]:
    """A channel of the node's own user, with the topology declared and a message in each queue."""
    async with await aio_pika.connect(rabbit.url) as connection:
        channel = await connection.channel(on_return_raises=True)
        await topology.declare(channel)
        for queue in topology.QUEUES:
            exchange = await channel.get_exchange(queue.exchange)
            await exchange.publish(aio_pika.Message(b"kept"), queue.key)
        yield channel


@pytest.fixture
async def flow(rabbit: RabbitNode, declared: AbstractChannel) -> AsyncIterator[AbstractChannel]:
    """A channel of the user for sign-up flows."""
    async with await aio_pika.connect(rabbit.signup_url) as connection:
        yield await connection.channel(on_return_raises=True)


async def untouched(channel: AbstractChannel) -> bool:
    """Return whether each queue still has its message, and takes another one from its exchange."""
    for queue in topology.QUEUES:
        exchange = await channel.get_exchange(queue.exchange)
        await exchange.publish(aio_pika.Message(b"another"), queue.key)
        found = await channel.get_queue(queue.name)
        if found.declaration_result.message_count != 2:
            return False
    return True


@pytest.mark.parametrize("name", REFUSED)
async def test_a_sign_up_flow_is_refused_everything_but_its_own(
    declared: AbstractChannel, flow: AbstractChannel, name: str
) -> None:
    with pytest.raises(ChannelAccessRefused, match="ACCESS_REFUSED"):
        await REFUSED[name](flow)
    assert await untouched(declared)


async def test_a_sign_up_flow_can_still_do_what_the_how_to_says(
    declared: AbstractChannel, flow: AbstractChannel
) -> None:
    seen = await flow.get_queue(topology.COMMANDS_QUEUE)
    assert seen.declaration_result.message_count == 1
    await dead_letters(topology.SIGNUP, topology.SIGNUP_KEY)(flow)
    own = await flow.get_queue(OWN)
    await own.bind(topology.EVENTS, "#")
    events = await declared.get_exchange(topology.EVENTS)
    await events.publish(aio_pika.Message(b"an event"), "tenant.provisioned", mandatory=True)
    await (await own.get()).reject()

    async def sent_on() -> bool:
        found = await declared.get_queue(topology.SIGNUP_QUEUE)
        return found.declaration_result.message_count == 2

    await eventually(sent_on, what="an event among the sign-ups")


async def test_a_sign_up_flow_cannot_pass_for_another_user(flow: AbstractChannel) -> None:
    with pytest.raises(ChannelPreconditionFailed, match="user_id"):
        await publishes(topology.SIGNUP, topology.SIGNUP_KEY, user_id="tenantry")(flow)


async def test_a_sign_up_flow_signs_up_and_hears_the_answers(
    rabbit_config: Settings, rabbit: RabbitNode
) -> None:
    async with await aio_pika.connect(rabbit.url) as connection:
        await topology.declare(await connection.channel())
    async with await aio_pika.connect(rabbit.signup_url) as connection, provisioning(rabbit_config):
        channel = await connection.channel(on_return_raises=True)
        answers = await channel.declare_queue(OWN, exclusive=True)
        await answers.bind(topology.EVENTS, "tenant.#")
        flow = Flow(await channel.get_exchange(topology.SIGNUP), answers)
        event_id = await flow.asks(name="Patisserie", slug="patisserie")
        requested, provisioned = await flow.hears(), await flow.hears()
    assert requested["type"] == "tenant.requested"
    assert requested["data"]["source_id"] == event_id
    assert (provisioned["type"], provisioned["subject"]) == ("tenant.provisioned", "patisserie")


async def test_a_sign_up_flow_has_one_virtual_host_and_no_part_in_management(rabbit: RabbitNode) -> None:
    await asyncio.to_thread(rabbit.ctl, "add_vhost", "another")
    try:
        assert rabbit.signup_url is not None
        with pytest.raises(RefusedError, match="no virtual host another, or tenantry_signup may not use it"):
            await connect(address(rabbit.signup_url + "another"), timeout=5, limit=1000)
    finally:
        await asyncio.to_thread(rabbit.ctl, "delete_vhost", "another")
    users = await asyncio.to_thread(rabbit.ctl, "list_users", "--formatter", "csv")
    assert f'"{SIGNUP_USER}","[]"' in users


@pytest.mark.parametrize("page", ["docs/how-to.md", "compose.yaml"])
def test_the_same_rights_are_given_wherever_the_user_is_made(page: str) -> None:
    text = (PROJECT / page).read_text().replace("$$", "$")  # what compose makes of it
    rights = " ".join(f"'{SIGNUP_PERMISSIONS[name]}'" for name in ("configure", "write", "read"))
    assert f"{SIGNUP_USER} {rights}" in text
