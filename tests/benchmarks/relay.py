"""The relay's throughput, beside a bare publisher with confirms on the same payloads."""

import asyncio
import gc
import time
from pathlib import Path
from uuid import uuid4

import aio_pika
import asyncpg
from aio_pika.abc import AbstractExchange

from db.ledger import envelope, outbox
from db.ledger.contracts import Requested
from db.ledger.envelope import Message
from provisioner import topology
from provisioner.rabbit import Rabbit
from provisioner.relay.relay import Relay
from tests.benchmarks.figures import Figure, figure
from tests.benchmarks.plan import Plan
from tests.benchmarks.servers import Servers
from tests.faults.relaying import Deaf

_QUEUE = "benchmark.events"
_SECTION = "Relay"


async def measure(servers: Servers, plan: Plan, home: Path) -> list[Figure]:
    """Publish the same events by turns from the ledger and from memory."""
    config, bare, relayed = servers.config, [], []
    gc.collect()
    gc.freeze()  # as the provisioner does
    carrier = Rabbit(servers.node.url, prefetch=1, concurrency=1, publish_timeout=config.publish_timeout)
    receiving = asyncio.create_task(carrier.run(Deaf()))
    await carrier.wait_up()
    owner_url = config.require("owner_database_url")
    async with (
        await aio_pika.connect(servers.node.url) as connection,
        asyncpg.create_pool(owner_url, min_size=2, max_size=4) as pool,
    ):
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        queue = await channel.declare_queue(_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind(topology.EVENTS, "#")
        exchange = await channel.get_exchange(topology.EVENTS)
        relay = Relay(
            pool,
            owner_url,
            carrier,
            batch=config.relay_batch,
            lease=config.relay_lease,
            poll=config.relay_poll,
            in_flight=config.max_in_flight,
        )
        for _ in range(2 * plan.rounds - 1):
            messages = [_event(number) for number in range(plan.messages)]
            bare.append(await _bare(exchange, messages, config.relay_batch))
            await queue.purge()
            relayed.append(await _relayed(relay, pool, messages))
            await queue.purge()
        await channel.queue_delete(_QUEUE)
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
    base = {"per_second": bare}
    return [
        figure(_SECTION, "publisher with confirms, from memory", base),
        figure(_SECTION, "relay, from the ledger", {"per_second": relayed}, base=base, of="publisher"),
    ]


def _event(number: int) -> Message:
    return envelope.message(Requested(tenant_id=uuid4(), slug=f"shop{number}", name=f"Shop {number}"))


async def _bare(exchange: AbstractExchange, messages: list[Message], batch: int) -> float:
    started = time.perf_counter()
    for first in range(0, len(messages), batch):
        await asyncio.gather(
            *(
                exchange.publish(
                    aio_pika.Message(
                        message.payload,
                        message_id=str(message.id),
                        type=message.data.type,
                        content_type="application/cloudevents+json",
                        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                    ),
                    message.data.type,
                    mandatory=False,
                )
                for message in messages[first : first + batch]
            )
        )
    return len(messages) / (time.perf_counter() - started)


async def _relayed(relay: Relay, pool: asyncpg.Pool, messages: list[Message]) -> float:
    async with pool.acquire() as connection:
        await outbox.append(connection, messages)
        await connection.execute("ANALYZE shared.messages")
    started = time.perf_counter()
    published = 0
    while published < len(messages):
        published += await relay.publish_due()
    took = time.perf_counter() - started
    left = await pool.fetchval("SELECT count(*) FROM shared.messages WHERE status = 'pending'")
    if left:
        raise RuntimeError(f"{left} were not published")
    await pool.execute("DELETE FROM shared.messages")
    return len(messages) / took
