"""The receiver: takes messages from RabbitMQ's queues, hands them to a consumer, and settles each.

Whatever happens to a delivery, it is settled, or its channel is closed, which gives it back to the broker.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage

from db.ledger.envelope import SIGN_UP
from provisioner import topology
from provisioner.amqp import LOST, close, first, lost_not_cancelled
from provisioner.frames import too_large
from provisioner.hand import Delivery, Hand
from provisioner.slots import Slots
from provisioner.transport import Consumer, DatabaseAwayError

log = structlog.get_logger(__name__)

_DEFECT_PAUSE: Final = 1.0
"""Seconds before a message is given back whose handling failed by a defect; it comes again at once."""


class Session:
    """The state of one consuming connection, and what ends it.

    Args:
        consumer: what takes the messages.
    """

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer
        self.away = asyncio.Event()
        """PostgreSQL is away."""
        self.deleted = asyncio.Event()
        """A queue was deleted."""
        self.broken = asyncio.Event()
        """A delivery could not be settled."""
        self.over = False

    def cancelled(self, _: object) -> None:
        """Note that the broker cancelled a consumer, as it does when the queue is deleted."""
        self.deleted.set()


class Receiver:
    """Receives messages, over one connection after the other.

    Args:
        prefetch: number of sign-ups that the broker hands over ahead.
        concurrency: number of commands to work on at once.
        bulk: number of commands of bulk work to hold, whether they are worked on or wait. More are given back.
        timeout: seconds that settling a message, or cancelling a consumer, may take.
    """

    def __init__(self, *, prefetch: int, concurrency: int, bulk: int, timeout: float) -> None:
        self._prefetch = prefetch
        self._slots = Slots(concurrency)
        self._bulk = bulk
        self._bulk_held = 0
        self._timeout = timeout
        self._consuming: dict[str, AbstractChannel] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.hand = Hand()
        self.stopping = asyncio.Event()
        # A second way to end: Python 3.11's `wait_for`, with which aiormq connects, loses a cancellation that
        # comes with its result.
        self.over = asyncio.Event()

    @property
    def receiving(self) -> bool:
        """Whether messages are being received."""
        return bool(self._consuming)

    async def receive(self, connection: AbstractConnection, consumer: Consumer) -> Session:
        """Consume over a connection until it or a channel is lost, a queue is deleted, PostgreSQL is away or a
        delivery cannot be settled. Then close the connection, and return what was seen.

        Raises:
            Exception: one of `amqp.LOST`: the consumers could not be set up.
        """
        session = Session(consumer)
        try:
            channels = [
                await self._consume(connection, session, queue, prefetch, take, postpone)
                for queue, prefetch, take, postpone in (
                    # Bulk work that is held leaves the whole prefetch to sign-ups.
                    (
                        topology.COMMANDS_QUEUE,
                        self._prefetch + self._bulk,
                        consumer.command,
                        consumer.postpone,
                    ),
                    (topology.SIGNUP_QUEUE, self._prefetch, consumer.signup, None),
                    (topology.DEAD_QUEUE, 1, consumer.dead, None),
                )
            ]
            await first(
                self.over.wait(),
                session.away.wait(),
                session.deleted.wait(),
                session.broken.wait(),
                *(channel.closed() for channel in channels),
            )
        finally:
            session.over = True
            self._consuming.clear()
            # Closing returns at once all messages that were delivered and not settled.
            await close(connection)
            self.hand.given_back()
        return session

    async def stop(self) -> None:
        """Receive no more; the work on what is in hand goes on."""
        self.stopping.set()
        for tag, channel in list(self._consuming.items()):
            with suppress(*LOST), lost_not_cancelled():
                underlay = await channel.get_underlay_channel()
                await underlay.basic_cancel(tag, timeout=self._timeout)

    async def drained(self) -> None:
        """Wait until no message is worked on."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def abandon(self) -> None:
        """Cancel the work on all messages."""
        self.stopping.set()
        self.over.set()
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _consume(
        self,
        connection: AbstractConnection,
        session: Session,
        queue: str,
        prefetch: int,
        take: "_Take",
        postpone: "_Take | None",
    ) -> AbstractChannel:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=prefetch)
        source = await channel.get_queue(queue, ensure=False)

        async def receive(message: AbstractIncomingMessage) -> None:
            # A separate task, so that work goes on if the channel that delivered it is lost.
            delivery = self.hand.take()
            task = asyncio.create_task(self._receive(message, delivery, session, take, postpone))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        underlay = await channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(session.cancelled)
        self._consuming[await source.consume(receive)] = channel
        return channel

    async def _receive(
        self,
        message: AbstractIncomingMessage,
        delivery: Delivery,
        session: Session,
        take: "_Take",
        postpone: "_Take | None",
    ) -> None:
        """Handle and settle a message; if that fails, end the session, whose closing gives the message back."""
        try:
            settle = await self._handled(message, delivery, session, take, postpone)
            if settle is not None:
                async with asyncio.timeout(self._timeout):
                    with lost_not_cancelled():
                        await settle()
                self.hand.settled(delivery)
        except DatabaseAwayError:
            session.away.set()
        except LOST as error:
            log.warning("could not settle", message_id=message.message_id, error=repr(error))
        finally:
            if delivery.unsettled and not (session.away.is_set() or self.stopping.is_set()):
                session.broken.set()
            if session.over:
                self.hand.settled(delivery)
            self.hand.done(delivery)

    async def _handled(
        self,
        message: AbstractIncomingMessage,
        delivery: Delivery,
        session: Session,
        take: "_Take",
        postpone: "_Take | None",
    ) -> Callable[[], Awaitable[None]] | None:
        """Handle a message. Return how it is to be settled, or None if the closing channel gives it back.

        If it is bulk work and ``postpone`` is given, it may be given back to the ledger.

        Raises:
            DatabaseAwayError: nothing was decided.
        """
        bulk = postpone is not None and (message.priority or 0) < SIGN_UP
        try:
            if (cut := too_large(message.correlation_id)) is not None:
                await session.consumer.too_large(message.message_id, message.body, cut)
            elif postpone is not None and bulk and self._bulk_held >= self._bulk:
                await postpone(message.message_id, message.body)
            elif not await self._taken(message, delivery, session, take, bulk=bulk):
                return None
        except DatabaseAwayError:
            raise
        except Exception:
            # A defect of this program: the message is delivered again until the delivery limit, and then
            # comes back through the dead-letter queue.
            log.exception("delivery failed", message_id=message.message_id)
            await asyncio.sleep(_DEFECT_PAUSE)
            return lambda: message.nack(requeue=True)
        return message.ack

    async def _taken(
        self,
        message: AbstractIncomingMessage,
        delivery: Delivery,
        session: Session,
        take: "_Take",
        *,
        bulk: bool,
    ) -> bool:
        """Handle a message once there is a slot for it. Return False if its session was over by then."""
        self._bulk_held += bulk
        self.hand.wait(delivery)
        try:
            async with self._slots.taken(bulk=bulk):
                self.hand.restart(delivery)
                if session.over or session.away.is_set() or self.stopping.is_set():
                    return False
                await take(message.message_id, message.body)
        finally:
            self._bulk_held -= bulk
        return True


_Take = Callable[[str | None, bytes], Awaitable[None]]
