"""Fixtures of the fault tests."""

from collections.abc import AsyncIterator

import aio_pika
import asyncpg
import pytest
from aio_pika.abc import AbstractChannel

from db.local.servers.rabbitmq import RabbitNode
from db.settings import Settings
from tests import invariants
from tests.invariants import Healed
from tests.listener import Heard, listening
from tests.proxy import Proxy, proxied


@pytest.fixture
async def healed(config: Settings, owner: asyncpg.Connection) -> Healed:
    """Checks, once all has healed, that nothing is missing, half done or done twice."""
    return Healed(config, await invariants.roles(owner))


@pytest.fixture
async def heard(rabbit: RabbitNode) -> AsyncIterator[Heard]:
    """What a listener at the broker hears."""
    async with listening(rabbit.url) as heard:
        yield heard


@pytest.fixture
async def channel(rabbit: RabbitNode) -> AsyncIterator[AbstractChannel]:
    """A channel at the broker, of the test's own."""
    async with await aio_pika.connect(rabbit.url) as connection:
        yield await connection.channel(on_return_raises=True)


@pytest.fixture
async def proxy(rabbit: RabbitNode) -> AsyncIterator[Proxy]:
    """A proxy in front of the broker."""
    async with proxied(rabbit.port, amqp=True) as proxy:
        yield proxy
