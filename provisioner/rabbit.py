"""The RabbitMQ transport: separate connections to publish and to consume, each reopened when lost.

It uses aio-pika's plain connections and not its robust ones, since after a loss the ledger decides how to go
on, and every wait needs a time limit.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
from aio_pika.exceptions import DeliveryError, PublishError

from db.ledger.heartbeats import BrokerState
from db.ledger.outbox import Leased
from provisioner import metrics, topology
from provisioner.amqp import LOST, address, close, connect, first, lost_not_cancelled
from provisioner.publisher import Publisher
from provisioner.receiver import Receiver
from provisioner.transport import Consumer

log = structlog.get_logger(__name__)

_RECONNECT_FIRST: Final = 0.2
_RECONNECT_CAP: Final = 5.0
_RETURNED: Final = "returned: no queue takes it"
_TIMED_OUT: Final = "no confirm in time"


class Rabbit:
    """Carries messages through RabbitMQ.

    Args:
        url: the broker's address, ``amqp://...``.
        prefetch: number of sign-ups that the broker hands over ahead.
        concurrency: number of commands to work on at once.
        publish_timeout: seconds that one publish may take, including its confirm.
        bulk: number of commands of bulk work to hold, whether they are worked on or wait. More are given back.
        limit: largest body that is received whole, in bytes.
        bind_every: seconds between two declarations of exchanges and bindings, which somebody may delete.
    """

    def __init__(
        self,
        url: str,
        *,
        prefetch: int,
        concurrency: int,
        publish_timeout: float,
        bulk: int = 10,
        limit: int = 1 << 20,
        bind_every: float = 2.0,
    ) -> None:
        self._address = address(url)
        self._publish_timeout = publish_timeout
        self._limit = limit
        self._bind_every = bind_every
        self._up = asyncio.Event()
        self._publisher: Publisher | None = None
        self._receiver = Receiver(
            prefetch=prefetch, concurrency=concurrency, bulk=bulk, timeout=publish_timeout
        )

    @property
    def state(self) -> BrokerState:
        return "up" if self._up.is_set() else "down"

    @property
    def receiving(self) -> bool:
        return self._receiver.receiving

    @property
    def in_hand(self) -> int:
        return self._receiver.hand.count

    @property
    def held_for(self) -> float:
        return self._receiver.hand.held_for

    async def wait_up(self) -> None:
        await self._up.wait()

    async def publish(self, leased: Sequence[Leased]) -> list[str | None]:
        publisher = self._publisher
        if publisher is None:
            return ["no connection"] * len(leased)
        # One timeout for the whole batch bounds each publish, and costs less than one for each.
        sending = [asyncio.create_task(self._publish(publisher, row)) for row in leased]
        late = set(sending)
        try:
            _, late = await asyncio.wait(sending, timeout=self._publish_timeout)
        finally:
            for task in late:
                task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        metrics.UNCONFIRMED.labels("timed_out").inc(len(late))
        outcomes = [_TIMED_OUT if task in late else task.result() for task in sending]
        # Returned: the queue or its binding was deleted and must be declared again. Timed out: the confirm
        # may still come, and a channel must never carry two messages with one id at once.
        if _RETURNED in outcomes or _TIMED_OUT in outcomes:
            publisher.stale.set()
        return outcomes

    async def ready(self) -> int | None:
        publisher = self._publisher
        if publisher is None:
            return None
        try:
            async with asyncio.timeout(self._publish_timeout):
                with lost_not_cancelled():
                    return await publisher.ready()
        except LOST:
            return None

    async def run(self, consumer: Consumer) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._kept_up("publisher", self._publishing))
            group.create_task(self._kept_up("consumer", lambda: self._receiving(consumer)))

    async def stop_receiving(self) -> None:
        await self._receiver.stop()

    async def drained(self) -> None:
        await self._receiver.drained()

    async def abandon(self) -> None:
        await self._receiver.abandon()

    async def _publish(self, publisher: Publisher, row: Leased) -> str | None:
        started = time.perf_counter()
        try:
            with lost_not_cancelled():
                await publisher.publish(row)
        except PublishError:
            metrics.UNCONFIRMED.labels("returned").inc()
            return _RETURNED
        except DeliveryError:
            metrics.UNCONFIRMED.labels("nacked").inc()
            return "nacked: the queue is full or the broker could not store it"
        except LOST as error:
            return _connection_lost(error)
        metrics.CONFIRMED.observe(time.perf_counter() - started)
        return None

    async def _kept_up(self, name: str, session: Callable[[], Awaitable[None]]) -> None:
        """Run ``session`` again and again until stopped, waiting longer each time that it fails quickly."""
        delay = _RECONNECT_FIRST
        loop = asyncio.get_running_loop()
        while not self._receiver.stopping.is_set():
            started = loop.time()
            try:
                with lost_not_cancelled():
                    await session()
            except LOST as error:
                log.warning("broker connection lost", connection=name, error=repr(error))
            if loop.time() - started > _RECONNECT_CAP:
                delay = _RECONNECT_FIRST
            await asyncio.sleep(delay)
            delay = min(delay * 2, _RECONNECT_CAP)

    async def _publishing(self) -> None:
        """Declare the topology, then keep the publisher open until a channel is lost or the topology is stale."""
        connection = await connect(self._address, timeout=self._publish_timeout, limit=self._limit)
        try:
            async with asyncio.timeout(self._publish_timeout * 3):
                await topology.restore(connection)
                self._publisher = await Publisher.open(connection)
            self._up.set()
            log.info("broker up")
            lost = asyncio.ensure_future(first(self._publisher.lost(), self._receiver.over.wait()))
            try:
                # The broker tells nobody of an exchange or a binding that was deleted. A missing queue is an
                # error here, and declared over the next connection.
                while not (await asyncio.wait([lost], timeout=self._bind_every))[0]:
                    async with asyncio.timeout(self._publish_timeout):
                        await topology.bind(connection)
            finally:
                lost.cancel()
        finally:
            self._up.clear()
            self._publisher = None
            await close(connection)

    async def _receiving(self, consumer: Consumer) -> None:
        """Consume over one connection until that ends; then wait for PostgreSQL, if it was away."""
        await self._up.wait()  # the topology has been declared
        connection = await connect(self._address, timeout=self._publish_timeout, limit=self._limit)
        session = await self._receiver.receive(connection, consumer)
        if session.deleted.is_set():
            log.warning("queue deleted")
            if self._publisher is not None:
                self._publisher.stale.set()
        if session.away.is_set():
            await consumer.database_back()


def _connection_lost(error: BaseException) -> str:
    metrics.UNCONFIRMED.labels("connection_lost").inc()
    return f"connection lost: {error!r}"
