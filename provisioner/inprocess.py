"""The transport within the process, for machines without RabbitMQ. Ledger, relay and handlers are the same."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import structlog

from db.ledger.heartbeats import BrokerState
from db.ledger.outbox import Leased
from provisioner.transport import Consumer, DatabaseAwayError

log = structlog.get_logger(__name__)


class InProcess:
    """Delivers messages through a queue in memory. If the process dies, the ledger still has the messages.

    Args:
        concurrency: number of commands to work on at once.
    """

    state: BrokerState = "in-process"

    def __init__(self, *, concurrency: int) -> None:
        self._concurrency = concurrency
        self._queue: asyncio.Queue[Leased] = asyncio.Queue()
        self._receiving = True
        self._working = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def receiving(self) -> bool:
        return self._receiving

    @property
    def in_hand(self) -> int:
        return self._working + self._queue.qsize()

    async def wait_up(self) -> None:
        return

    async def publish(self, leased: Sequence[Leased]) -> list[str | None]:
        for row in leased:
            if row.kind == "command":  # without a broker, nobody subscribes to events
                self._queue.put_nowait(row)
        return [None] * len(leased)

    async def ready(self) -> int | None:
        return 0  # queued commands are counted as in hand, where other processes see them too

    async def run(self, consumer: Consumer) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                group.create_task(self._work(consumer))

    async def stop_receiving(self) -> None:
        self._receiving = False
        while not self._queue.empty():  # the ledger publishes the commands again
            with suppress(asyncio.QueueEmpty):
                self._queue.get_nowait()

    async def drained(self) -> None:
        await self._idle.wait()

    async def abandon(self) -> None:
        return  # the work runs within `run` and is cancelled with it

    async def _work(self, consumer: Consumer) -> None:
        while True:
            row = await self._queue.get()
            if not self._receiving:
                return
            self._working += 1
            self._idle.clear()
            try:
                take = consumer.signup if row.signs_up else consumer.command
                await take(str(row.id), row.body)
            except DatabaseAwayError:
                await consumer.database_back()
                self._queue.put_nowait(row)  # nothing was decided about the message
            except Exception:
                log.exception("delivery failed", message_id=str(row.id))
            finally:
                self._working -= 1
                if not self._working:
                    self._idle.set()
