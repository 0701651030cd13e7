"""A transport over RabbitMQ by itself, with a consumer of the test's own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from db.settings import Settings
from provisioner.frames import TooLarge
from provisioner.rabbit import Rabbit


class Clumsy:
    """A consumer whose first calls raise errors, and which takes everything after that.

    Args:
        errors: what the first calls raise, one after the other.
    """

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.taken: list[bytes] = []
        self.free = asyncio.Event()

    async def command(self, _id: str | None, body: bytes) -> None:
        if self.errors:
            raise self.errors.pop()
        await self.free.wait()
        self.taken.append(body)

    dead = signup = postpone = command

    async def too_large(self, _id: str | None, _first: bytes, _message: TooLarge) -> None:
        raise AssertionError("nothing is that large")

    async def database_back(self) -> None:
        raise AssertionError("PostgreSQL is not away")


@asynccontextmanager
async def carrying(config: Settings, consumer: Clumsy, *, bind_every: float = 2.0) -> AsyncIterator[Rabbit]:
    """Receive with a consumer, until the end."""
    url = config.require("amqp_url")
    carrier = Rabbit(url, prefetch=5, concurrency=2, publish_timeout=5, bind_every=bind_every)
    task = asyncio.create_task(carrier.run(consumer))
    try:
        await asyncio.wait_for(carrier.wait_up(), 20)
        yield carrier
    finally:
        consumer.free.set()
        await carrier.stop_receiving()
        await asyncio.wait_for(carrier.drained(), 20)
        await carrier.abandon()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
