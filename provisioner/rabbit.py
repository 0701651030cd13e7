"""The RabbitMQ transport: separate connections to publish and to consume, each reopened when lost.

It uses aio-pika's plain connections and not its robust ones, since after a loss the ledger decides how to go
on, and every wait needs a time limit.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, DeliveryError, PublishError

from db.ledger.envelope import SIGN_UP
from db.ledger.heartbeats import BrokerState
from db.ledger.outbox import Leased
from provisioner import metrics, topology
from provisioner.amqp import LOST, address, close, connect, first, is_asked_for, lost_not_cancelled
from provisioner.publisher import Publisher
from provisioner.slots import Slots
from provisioner.transport import Consumer, DatabaseAwayError

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
    """

    def __init__(
        self, url: str, *, prefetch: int, concurrency: int, publish_timeout: float, bulk: int = 10
    ) -> None:
        self._address = address(url)
        self._prefetch = prefetch
        self._publish_timeout = publish_timeout
        self._up = asyncio.Event()
        self._slots = Slots(concurrency)
        self._bulk = bulk
        self._bulk_held = 0
        self._publisher: Publisher | None = None
        self._consuming: dict[str, AbstractChannel] = {}
        self._stopping = asyncio.Event()
        # A second way to end: Python 3.11's `wait_for`, with which aiormq connects, loses a cancellation that
        # comes with its result.
        self._over = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> BrokerState:
        return "up" if self._up.is_set() else "down"

    @property
    def receiving(self) -> bool:
        return bool(self._consuming)

    @property
    def in_hand(self) -> int:
        return len(self._tasks)

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
        self._stopping.set()
        for tag, channel in list(self._consuming.items()):
            with suppress(*LOST):
                underlay = await channel.get_underlay_channel()
                await underlay.basic_cancel(tag, timeout=self._publish_timeout)

    async def drained(self) -> None:
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def abandon(self) -> None:
        self._stopping.set()
        self._over.set()
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _publish(self, publisher: Publisher, row: Leased) -> str | None:
        started = time.perf_counter()
        try:
            await publisher.publish(row)
        except PublishError:
            metrics.UNCONFIRMED.labels("returned").inc()
            return _RETURNED
        except DeliveryError:
            metrics.UNCONFIRMED.labels("nacked").inc()
            return "nacked: the queue is full or the broker could not store it"
        except CONNECTION_EXCEPTIONS as error:
            return _connection_lost(error)
        except asyncio.CancelledError as error:
            if is_asked_for():
                raise
            return _connection_lost(error)
        metrics.CONFIRMED.observe(time.perf_counter() - started)
        return None

    async def _kept_up(self, name: str, session: Callable[[], Awaitable[None]]) -> None:
        """Run ``session`` again and again until stopped, waiting longer each time that it fails quickly."""
        delay = _RECONNECT_FIRST
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
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
        connection = await connect(self._address, timeout=self._publish_timeout)
        try:
            async with asyncio.timeout(self._publish_timeout * 3):
                declaring = await connection.channel()
                await topology.declare(declaring)
                await declaring.close()
                self._publisher = await Publisher.open(connection)
            self._up.set()
            log.info("broker up")
            await first(self._publisher.lost(), self._over.wait())
        finally:
            self._up.clear()
            self._publisher = None
            await close(connection)

    async def _receiving(self, consumer: Consumer) -> None:
        """Consume until the connection is lost, a queue is deleted or PostgreSQL is away; then wait for PostgreSQL."""
        await self._up.wait()  # the topology has been declared
        connection = await connect(self._address, timeout=self._publish_timeout)
        session = _Session()
        try:
            channels = []
            for queue, prefetch, take, postpone in (
                # Bulk work that is held leaves the whole prefetch to sign-ups.
                (topology.COMMANDS_QUEUE, self._prefetch + self._bulk, consumer.command, consumer.postpone),
                (topology.SIGNUP_QUEUE, self._prefetch, consumer.signup, None),
                (topology.DEAD_QUEUE, 1, consumer.dead, None),
            ):
                channel = await connection.channel()
                await channel.set_qos(prefetch_count=prefetch)
                source = await channel.get_queue(queue, ensure=False)

                async def receive(
                    message: AbstractIncomingMessage, take: _Take = take, postpone: _Take | None = postpone
                ) -> None:
                    # A separate task, so that work goes on if the channel that delivered it is lost.
                    task = asyncio.create_task(self._receive(message, session, take, postpone))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)

                underlay = await channel.get_underlay_channel()
                underlay.on_consumer_cancel_callbacks.add(session.cancelled)
                self._consuming[await source.consume(receive)] = channel
                channels.append(channel)
            await first(
                self._over.wait(),
                session.away.wait(),
                session.deleted.wait(),
                *(channel.closed() for channel in channels),
            )
        finally:
            session.over = True
            self._consuming.clear()
            # Closing returns at once all messages that were delivered and not settled.
            await close(connection)
        if session.deleted.is_set():
            log.warning("queue deleted")
            if self._publisher is not None:
                self._publisher.stale.set()
        if session.away.is_set():
            await consumer.database_back()

    async def _receive(
        self,
        message: AbstractIncomingMessage,
        session: "_Session",
        take: "_Take",
        postpone: "_Take | None",
    ) -> None:
        """Handle and settle a message. If it is bulk work and ``postpone`` is given, it may be given back."""
        bulk = postpone is not None and (message.priority or 0) < SIGN_UP
        try:
            if postpone is not None and bulk and self._bulk_held >= self._bulk:
                await postpone(message.message_id, message.body)
            elif not await self._taken(message, session, take, bulk=bulk):
                return  # delivered again when the channel closes
            with lost_not_cancelled():
                await message.ack()
        except DatabaseAwayError:
            session.away.set()
        except LOST as error:
            log.warning("could not settle", message_id=message.message_id, error=repr(error))
        except Exception:
            # A defect of this program: the message is delivered again until the delivery limit, and then
            # comes back through the dead-letter queue.
            log.exception("delivery failed", message_id=message.message_id)
            with suppress(*LOST):
                await message.nack(requeue=True)

    async def _taken(
        self, message: AbstractIncomingMessage, session: "_Session", take: "_Take", *, bulk: bool
    ) -> bool:
        """Handle a message once there is a slot for it. Return False if its session was over by then."""
        self._bulk_held += bulk
        try:
            async with self._slots.taken(bulk=bulk):
                if session.over or session.away.is_set() or self._stopping.is_set():
                    return False
                await take(message.message_id, message.body)
        finally:
            self._bulk_held -= bulk
        return True


_Take = Callable[[str | None, bytes], Awaitable[None]]


class _Session:
    """The state of one consuming connection: whether PostgreSQL is away, a queue deleted, or the session over."""

    def __init__(self) -> None:
        self.away = asyncio.Event()
        self.deleted = asyncio.Event()
        self.over = False

    def cancelled(self, _: object) -> None:
        """Note that the broker cancelled a consumer, as it does when the queue is deleted."""
        self.deleted.set()


def _connection_lost(error: BaseException) -> str:
    metrics.UNCONFIRMED.labels("connection_lost").inc()
    return f"connection lost: {error!r}"
