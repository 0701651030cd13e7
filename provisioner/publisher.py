"""The publisher: sends the ledger's messages to RabbitMQ's exchanges, with confirms.

It only raises. What becomes of a message that could not be sent is decided in ``provisioner/relay/drain.py``;
the connection is opened again in ``provisioner/rabbit.py``.
"""

import asyncio

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange

from db.ledger.outbox import Leased
from provisioner import topology
from provisioner.amqp import first


class Publisher:
    """An open channel with publisher confirms, one to look at queues, and the exchanges. Made by `open`."""

    def __init__(
        self,
        channel: AbstractChannel,
        probe: AbstractChannel,
        commands: AbstractExchange,
        events: AbstractExchange,
        signup: AbstractExchange,
    ) -> None:
        self._channel = channel
        self._probe = probe
        self._commands = commands
        self._events = events
        self._signup = signup
        self.stale = asyncio.Event()
        """Set if exchanges and queues may no longer be as they were declared, or the channel must be replaced."""

    @classmethod
    async def open(cls, connection: AbstractConnection) -> "Publisher":
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        return cls(
            channel,
            await connection.channel(),
            await channel.get_exchange(topology.COMMANDS, ensure=False),
            await channel.get_exchange(topology.EVENTS, ensure=False),
            await channel.get_exchange(topology.SIGNUP, ensure=False),
        )

    async def publish(self, row: Leased) -> None:
        message = aio_pika.Message(
            row.body,
            message_id=str(row.id),
            type=row.type,
            content_type="application/cloudevents+json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            priority=row.priority,
        )
        if row.kind == "command" and row.signs_up:
            await self._signup.publish(message, topology.SIGNUP_KEY, mandatory=True)
        elif row.kind == "command":
            await self._commands.publish(message, topology.COMMANDS_KEY, mandatory=True)
        else:
            await self._events.publish(message, row.type, mandatory=False)

    async def ready(self) -> int:
        ready = 0
        for name in (topology.COMMANDS_QUEUE, topology.SIGNUP_QUEUE):
            queue = await self._probe.declare_queue(name, passive=True)
            ready += queue.declaration_result.message_count or 0
        return ready

    async def lost(self) -> None:
        """Wait until one of the channels is closed, by either side, or `stale` is set."""
        await first(self._channel.closed(), self._probe.closed(), self.stale.wait())
