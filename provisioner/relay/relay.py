"""The relay: carries messages from the ledger to the transport. Several can run, since rows are leased.

NOTIFY wakes the relay; it polls as well, in case a notification is missed. It holds no lock while it waits for
the network.
"""

import asyncio

import structlog
from asyncpg import Pool

from db.ledger import outbox
from db.session import listening
from db.session.listening import Listener
from provisioner import failures, metrics
from provisioner.relay.drain import Drain
from provisioner.transport import Transport

log = structlog.get_logger(__name__)

_PROBE_EVERY = 15.0
"""Seconds between two checks whether the listening connection still answers."""
_RECONNECT = 0.5
"""Seconds until the ledger is read again after a failure."""


class Relay:
    """Publishes messages when they are due.

    Args:
        pool: the owner's connections.
        url: the owner's address, for the relay's own listening connection.
        transport: what to publish to.
        batch: rows of each kind to lease at once.
        lease: seconds that a lease lasts; at least twice as long as a publish may take.
        poll: seconds to wait at most for a notification before the ledger is read again.
        in_flight: commands that may be published and not yet handled, at most.
        bulk_in_flight: how many of them may be bulk work; ``in_flight`` by default.
    """

    def __init__(
        self,
        pool: Pool,
        url: str,
        transport: Transport,
        *,
        batch: int,
        lease: float,
        poll: float,
        in_flight: int,
        bulk_in_flight: int | None = None,
    ) -> None:
        self._pool = pool
        self._transport = transport
        self._batch = batch
        self._lease = lease
        self._poll = poll
        self._in_flight = in_flight
        self._bulk_in_flight = in_flight if bulk_in_flight is None else bulk_in_flight
        self._wake = asyncio.Event()
        self._drain: Drain | None = None
        self._stopping = False
        self._draining = asyncio.Lock()
        self._listener = Listener(url, {listening.LEDGER: self._wake.set}, probe=_PROBE_EVERY)

    async def run(self) -> None:
        """Publish until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listener.run())
            group.create_task(self._publish_for_ever())

    async def stop(self) -> None:
        """Lease nothing more, and wait until what is leased is marked.

        A lease that is left behind would hold back later rows of its tenants until it ends.
        """
        self._stopping = True
        if self._drain is not None:
            self._drain.stop()
        async with self._draining:
            pass

    async def _publish_for_ever(self) -> None:
        while not self._stopping:
            await self._transport.wait_up()
            self._wake.clear()
            looked_at = asyncio.get_running_loop().time()
            try:
                leased = await self.publish_due()
                wait = 0.0 if leased else await self._until_next(looked_at)
            except failures.NOT_NOW as error:
                log.warning("ledger cannot be read", error=repr(error))
                wait = _RECONNECT
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
                metrics.WAKE_UPS.labels("notify").inc()
            except TimeoutError:
                metrics.WAKE_UPS.labels("poll" if wait else "batch").inc()

    async def publish_due(self) -> int:
        """Publish all messages that are due and mark those that were confirmed. Return how many were leased."""
        async with self._draining:
            self._drain = Drain(
                self._pool,
                self._transport,
                batch=self._batch,
                lease=self._lease,
                in_flight=self._in_flight,
                bulk_in_flight=self._bulk_in_flight,
            )
            if self._stopping:
                self._drain.stop()
            return await self._drain.run()

    async def _until_next(self, looked_at: float) -> float:
        async with self._pool.acquire() as connection:
            due = await outbox.next_due(connection, looked=asyncio.get_running_loop().time() - looked_at)
        return self._poll if due is None else min(due, self._poll)
