"""A listener at the broker, which receives every event as a subscriber outside would."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from provisioner import topology


class Heard(dict[UUID, list[bytes]]):
    """Bodies by message id, including repeats."""

    def times(self, message_id: UUID) -> int:
        """Return how often a message was heard."""
        return len(self.get(message_id, []))


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[Heard]:
    """Declare the topology and yield the events that are published from now on."""
    heard = Heard()

    async def hear(message: AbstractIncomingMessage) -> None:
        heard.setdefault(UUID(message.message_id), []).append(message.body)
        await message.ack()

    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await topology.declare(channel)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(topology.EVENTS, "#")
        await queue.consume(hear)
        yield heard


async def waiting(channel: AbstractChannel, queue: str = topology.COMMANDS_QUEUE) -> int:
    """Return the number of messages that are ready in a queue."""
    declared = await channel.declare_queue(queue, passive=True)
    return declared.declaration_result.message_count or 0
