"""The topology: exchanges and queues, declared in the same way on RabbitMQ 3.10 and 4.x.

The arguments of a queue cannot be changed once it exists, hence the version in its name.
"""

from typing import Any, Final

import msgspec
from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel

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


async def declare(channel: AbstractChannel) -> None:
    """Declare all exchanges and queues.

    Args:
        channel: a channel for this alone, since the broker closes it if it refuses a declaration.

    Raises:
        aio_pika.exceptions.AMQPError: the broker refuses a declaration, or the connection is lost.
    """
    for name, kind in EXCHANGES.items():
        await channel.declare_exchange(name, kind, durable=True)
    for queue in QUEUES:
        declared = await channel.declare_queue(queue.name, durable=True, arguments=queue.arguments)
        await declared.bind(queue.exchange, queue.key)
