"""Private servers to measure on, and how progress is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from db import bootstrap
from db.local.servers.debian import unpack_rabbitmq
from db.local.servers.postgres import PostgresServer
from db.local.servers.rabbitmq import RabbitNode, get_installation
from db.settings import Settings
from tests.support import APP_PASSWORD, OWNER_PASSWORD


class Servers(msgspec.Struct):
    """What runs, and how to reach it."""

    config: Settings
    node: RabbitNode
    superuser_url: str


def say(text: str) -> None:
    """Write a line at once."""
    print(text, flush=True)  # noqa: T201 - this is its output


@asynccontextmanager
async def servers(home: Path) -> AsyncIterator[Servers]:
    """A PostgreSQL, as durable as in production, and a RabbitMQ, both bootstrapped and private."""
    server = PostgresServer(home / "postgres")
    node = RabbitNode(home / "rabbitmq", get_installation() or unpack_rabbitmq())
    try:
        await asyncio.gather(asyncio.to_thread(server.start), asyncio.to_thread(node.start))
        url = server.superuser_url.rpartition("/")[0] + "/tenantry"
        made = await bootstrap.bootstrap(url, owner_password=OWNER_PASSWORD, app_password=APP_PASSWORD)
        config = Settings(
            database_url=made.app_url,
            owner_database_url=made.owner_url,
            amqp_url=node.url,
            signup="open",
            rate_limit_per_minute=0,
            address_rate_limit_per_minute=0,
            log_level="warning",
        )
        yield Servers(config, node, url)
    finally:
        await asyncio.to_thread(node.kill)
        await asyncio.to_thread(server.stop)
