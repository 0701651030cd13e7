"""Private servers to measure on, and how figures are told."""

import asyncio
import statistics
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from db import bootstrap
from db.local.servers.debian import unpack_rabbitmq
from db.local.servers.postgres import PostgresServer
from db.local.servers.rabbitmq import RabbitNode, get_installation
from db.settings import Settings
from tests.support import APP_PASSWORD, OWNER_PASSWORD


class Figure(msgspec.Struct, frozen=True):
    """One line of the table."""

    what: str
    value: str
    ratio: str = ""


class Servers(msgspec.Struct):
    """What runs, and how to reach it."""

    config: Settings
    node: RabbitNode


def say(text: str) -> None:
    """Write a line at once."""
    print(text, flush=True)  # noqa: T201 - this is its output


def milliseconds(values: Sequence[float], share: float) -> str:
    """Return a percentile of seconds, in milliseconds."""
    return f"{statistics.quantiles(values, n=100, method='inclusive')[round(share * 100) - 1] * 1000:.1f} ms"


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
        yield Servers(config, node)
    finally:
        await asyncio.to_thread(node.kill)
        await asyncio.to_thread(server.stop)
