"""The transport within the process, for machines without RabbitMQ. Ledger, relay and handlers are the same."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import structlog

from db.ledger.heartbeats import BrokerState
from db.ledger.outbox import Leased
from provisioner.hand import Hand
from provisioner.slots import Slots
from provisioner.transport import Consumer, DatabaseAwayError

log = structlog.get_logger(__name__)


class InProcess:
    """Delivers messages through queues in memory, one for sign-ups and one for bulk work.

    If the process dies, the ledger still has the messages.

    Args:
        concurrency: number of commands to work on at once.
    """

    state: BrokerState = "in-process"

    def __init__(self, *, concurrency: int) -> None:
        self._slots = Slots(concurrency)
        self._signups: asyncio.Queue[Leased] = asyncio.Queue()
        self._bulk: asyncio.Queue[Leased] = asyncio.Queue()
        self._receiving = True
        self._hand = Hand()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def receiving(self) -> bool:
        return self._receiving

    @property
    def in_hand(self) -> int:
        return self._hand.count + self._signups.qsize() + self._bulk.qsize()

    @property
    def held_for(self) -> float:
        return self._hand.held_for

    async def wait_up(self) -> None:
        return

    async def publish(self, leased: Sequence[Leased]) -> list[str | None]:
        for row in leased:
            if row.kind == "command":  # without a broker, nobody subscribes to events
                self._queue_of(row).put_nowait(row)
        return [None] * len(leased)

    async def ready(self) -> int | None:
        return 0  # queued commands are counted as in hand, where other processes see them too

    async def run(self, consumer: Consumer) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._slots.count):
                group.create_task(self._work(self._signups, consumer))
            for _ in range(self._slots.bulk):
                group.create_task(self._work(self._bulk, consumer))

    async def stop_receiving(self) -> None:
        self._receiving = False
        for queue in (self._signups, self._bulk):
            while not queue.empty():  # the ledger publishes the commands again
                with suppress(asyncio.QueueEmpty):
                    queue.get_nowait()

    async def drained(self) -> None:
        await self._idle.wait()

    async def abandon(self) -> None:
        return  # the work runs within `run` and is cancelled with it

    def _queue_of(self, row: Leased) -> asyncio.Queue[Leased]:
        return self._bulk if row.is_bulk else self._signups

    async def _work(self, queue: asyncio.Queue[Leased], consumer: Consumer) -> None:
        while True:
            row = await queue.get()
            delivery = self._hand.take()
            self._hand.wait(delivery)
            self._idle.clear()
            try:
                async with self._slots.taken(bulk=row.is_bulk):
                    self._hand.restart(delivery)
                    if not self._receiving:
                        return
                    take = consumer.signup if row.signs_up else consumer.command
                    await take(str(row.id), row.body)
            except DatabaseAwayError:
                await consumer.database_back()
                queue.put_nowait(row)  # nothing was decided about the message
            except Exception:
                log.exception("delivery failed", message_id=str(row.id))
            finally:
                self._hand.settled(delivery)
                self._hand.done(delivery)
                if not self._hand.count:
                    self._idle.set()
