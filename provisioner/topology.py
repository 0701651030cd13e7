"""The topology: exchanges and queues, declared in the same way on RabbitMQ 3.10 and 4.x.

The arguments of a queue cannot be changed once it exists, hence the version in its name.
"""

import asyncio
from typing import Any, Final

import msgspec
from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity

from db.ledger import exchanges

COMMANDS: Final = exchanges.COMMANDS
EVENTS: Final = exchanges.EVENTS
DEAD: Final = "tenantry.dead"
SIGNUP: Final = exchanges.SIGNUP
COMMANDS_QUEUE: Final = "tenantry.commands.v1"
DEAD_QUEUE: Final = "tenantry.dead.v1"
SIGNUP_QUEUE: Final = "tenantry.signup.v1"
COMMANDS_KEY: Final = exchanges.COMMANDS_KEY
SIGNUP_KEY: Final = exchanges.SIGNUP_KEY

_DELETION_PAUSE: Final = 0.5
"""Seconds from finding that a queue is missing to declaring it.

The broker cancels the consumers of a deleted quorum queue some 20 to 50 ms later. If there is a queue of that name
again by then, it counts them as consumers of that one, tells nobody, and loses what it hands them until their
channels are closed (seen with 3.10).
"""

_QUORUM: Final[dict[str, Any]] = {"x-queue-type": "quorum"}
_BOUNDED: Final[dict[str, Any]] = _QUORUM | {
    "x-delivery-limit": 10,
    "x-dead-letter-exchange": DEAD,
    "x-dead-letter-strategy": "at-least-once",  # needs reject-publish (RabbitMQ manual, quorum queues)
    "x-overflow": "reject-publish",
    "x-max-length": 100_000,
}


class Queue(msgspec.Struct, frozen=True):
    """A queue and its binding: the exchange and the routing key."""

    name: str
    exchange: str
    key: str
    arguments: dict[str, Any]


EXCHANGES: Final = {
    COMMANDS: ExchangeType.DIRECT,
    EVENTS: ExchangeType.TOPIC,
    SIGNUP: ExchangeType.DIRECT,
    DEAD: ExchangeType.FANOUT,
}
QUEUES: Final = (
    # A high limit and not -1, which loses messages on 3.10; without one, 4.x uses 20.
    Queue(DEAD_QUEUE, DEAD, "", _QUORUM | {"x-delivery-limit": 1_000_000}),
    Queue(COMMANDS_QUEUE, COMMANDS, COMMANDS_KEY, _BOUNDED),
    Queue(SIGNUP_QUEUE, SIGNUP, SIGNUP_KEY, _BOUNDED),
)


async def restore(connection: AbstractConnection) -> None:
    """Declare all exchanges, queues and bindings; a missing queue after the pause that its consumers need.

    Raises:
        aio_pika.exceptions.AMQPError: the broker refuses a declaration, or the connection is lost.
    """
    # The broker closes a channel on which it refuses something, so each of these has one for itself.
    async with connection.channel() as channel:
        missing = not await _has_queues(channel)
    if missing:
        await asyncio.sleep(_DELETION_PAUSE)
    async with connection.channel() as channel:
        await declare(channel)


async def bind(connection: AbstractConnection) -> None:
    """Declare all exchanges and bindings, but no queue: that may have been deleted a moment ago.

    Raises:
        aio_pika.exceptions.AMQPError: a queue is missing, or the connection is lost.
    """
    async with connection.channel() as channel:
        await _bind(channel)


async def declare(channel: AbstractChannel) -> None:
    """Declare all exchanges, queues and bindings at once.

    Raises:
        aio_pika.exceptions.AMQPError: the broker refuses a declaration, or the connection is lost.
    """
    for queue in QUEUES:
        await channel.declare_queue(queue.name, durable=True, arguments=queue.arguments)
    await _bind(channel)


async def _bind(channel: AbstractChannel) -> None:
    for name, kind in EXCHANGES.items():
        await channel.declare_exchange(name, kind, durable=True)
    for queue in QUEUES:
        await (await channel.get_queue(queue.name, ensure=False)).bind(queue.exchange, queue.key)


async def _has_queues(channel: AbstractChannel) -> bool:
    try:
        for queue in QUEUES:
            await channel.get_queue(queue.name)
    except ChannelNotFoundEntity:
        return False
    return True
