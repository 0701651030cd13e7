"""A relay by hand: it publishes when a test tells it to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from db.settings import Settings
from provisioner.frames import TooLarge
from provisioner.rabbit import Rabbit
from provisioner.relay.relay import Relay
from provisioner.transport import DatabaseAwayError


class Deaf:
    """A consumer that never finishes what it receives."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    async def command(self, _id: str | None, _body: bytes) -> None:
        await self.over.wait()
        raise DatabaseAwayError

    dead = signup = postpone = command

    async def too_large(self, _id: str | None, _first: bytes, _message: TooLarge) -> None:
        raise AssertionError("nothing is that large")

    async def database_back(self) -> None:
        await asyncio.Event().wait()


@asynccontextmanager
async def relaying(config: Settings, url: str, *, batch: int = 100) -> AsyncIterator[Relay]:
    """A relay that publishes when it is told to, beside a consumer that settles nothing."""
    carrier = Rabbit(url, prefetch=1, concurrency=1, publish_timeout=config.publish_timeout, bulk=0)
    intake = Deaf()
    task = asyncio.create_task(carrier.run(intake))
    owner_url = config.require("owner_database_url")
    try:
        async with asyncpg.create_pool(owner_url, min_size=1, max_size=6) as pool:
            await asyncio.wait_for(carrier.wait_up(), 20)
            yield Relay(pool, owner_url, carrier, batch=batch, lease=30, poll=1, in_flight=100)
    finally:
        intake.over.set()
        await carrier.drained()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
