"""Flows: sign tenants up from outside, over the broker, and hear the answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import aio_pika
import msgspec
from aio_pika.abc import AbstractQueue

from db.settings import Settings
from provisioner import topology
from tests.support import eventually


class Flow:
    """A sign-up flow outside, with a queue of its own for the answers."""

    def __init__(self, exchange: aio_pika.abc.AbstractExchange, answers: AbstractQueue) -> None:
        self._exchange = exchange
        self._answers = answers

    async def sends(self, body: bytes, **properties: Any) -> None:
        """Publish a body; it returns once the broker has it."""
        await self._exchange.publish(aio_pika.Message(body, **properties), topology.SIGNUP_KEY)

    async def asks(self, **data: Any) -> str:
        """Ask for a tenant and return the CloudEvent's id."""
        event_id = str(uuid4())
        await self.sends(event(event_id, **data))
        return event_id

    async def hears(self) -> dict[str, Any]:
        """Return the next answer."""

        async def probe() -> dict[str, Any] | None:
            message = await self._answers.get(no_ack=True, fail=False)
            return None if message is None else msgspec.json.decode(message.body)

        heard = await eventually(probe, what="an answer")
        assert heard is not None
        return heard


def event(event_id: str, source: str = "shop.example", **data: Any) -> bytes:
    """Return a sign-up as a CloudEvent."""
    return msgspec.json.encode(
        {"specversion": "1.0", "id": event_id, "source": source, "type": "tenant.signup", "data": data}
    )


@asynccontextmanager
async def flow(config: Settings) -> AsyncIterator[Flow]:
    """A flow that is connected to the broker, whose exchanges are there."""
    assert config.amqp_url is not None
    async with await aio_pika.connect(config.amqp_url) as connection:
        channel = await connection.channel()
        await topology.declare(channel)
        answers = await channel.declare_queue(exclusive=True)
        for key in ("tenant.requested", "tenant.rejected"):
            await answers.bind(topology.EVENTS, key)
        yield Flow(await channel.get_exchange(topology.SIGNUP), answers)
