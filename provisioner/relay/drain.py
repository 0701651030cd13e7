"""The drain: one pass of the relay, in batches, over all messages that are due."""

import asyncio
from collections import Counter

import structlog
from asyncpg import Pool

from db.ledger import outbox
from db.ledger.outbox import Leased
from provisioner import failures
from provisioner.transport import Transport

log = structlog.get_logger(__name__)

_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0
_LANES = 4
"""Batches in progress at once: one being leased, two at the broker, one being marked."""
_PUBLISHED = 2
"""Batches at the broker at once: it syncs one to disk while the other is sent."""


class Drain:
    """Publishes all messages that are due, in lanes that lease, publish and mark one batch after another.

    A full batch starts another lane, since with a single one the broker and the ledger would wait for each
    other half of the time.

    Args:
        pool: the owner's connections. A lane uses one at a time, and none while the broker works.
        transport: what to publish to.
        batch: rows of each kind to lease at once.
        lease: seconds that a lease lasts.
        in_flight: commands that may be published and not yet handled, at most.
        bulk_in_flight: how many of them may be bulk work.
    """

    def __init__(
        self,
        pool: Pool,
        transport: Transport,
        *,
        batch: int,
        lease: float,
        in_flight: int,
        bulk_in_flight: int,
    ) -> None:
        self._pool = pool
        self._transport = transport
        self._batch = batch
        self._lease = lease
        self._in_flight = in_flight
        self._bulk_in_flight = bulk_in_flight
        self._lanes: list[asyncio.Task[None]] = []
        self._leasing = asyncio.Lock()
        self._publishing = asyncio.Semaphore(_PUBLISHED)
        self._more = True
        self._leased = 0
        self._unmarked: Counter[bool] = Counter()
        """Leased commands that the ledger does not count as in flight yet, by whether they are bulk work."""

    async def run(self) -> int:
        """Publish until less than a batch is due, the broker is down or a lane fails.

        Returns:
            The number of leased messages.

        Raises:
            Exception: the error of a lane. The other lanes have finished their batches.
        """
        self._start_lane()
        try:
            for lane in self._lanes:  # lanes are added while the last one runs
                await asyncio.wait([lane])
        finally:
            for lane in self._lanes:
                lane.cancel()
            ended = await asyncio.gather(*self._lanes, return_exceptions=True)
        failed = [end for end in ended if end is not None]
        if failed:
            raise next((error for error in failed if not isinstance(error, failures.NOT_NOW)), failed[0])
        return self._leased

    def stop(self) -> None:
        """Lease nothing more; what is leased is still published and marked."""
        self._more = False

    def _start_lane(self) -> None:
        self._lanes.append(asyncio.create_task(self._lane()))

    async def _lane(self) -> None:
        try:
            while self._more:
                async with self._leasing:
                    leased_at = asyncio.get_running_loop().time()
                    leased = await self._next()
                try:
                    if leased:
                        await self._deliver(leased, leased_at)
                finally:
                    self._unmarked.subtract(_commands(leased))
        except Exception:
            self._more = False
            raise

    async def _next(self) -> list[Leased]:
        if not self._more:  # another lane may have ended the drain while this one waited
            return []
        # Leased rows are still pending, and hold back later rows of their tenant.
        async with self._pool.acquire() as connection:
            leased = await outbox.lease(
                connection,
                limit=self._batch,
                seconds=self._lease,
                in_flight=max(self._in_flight - self._unmarked[False], 0),
                bulk_in_flight=max(self._bulk_in_flight - self._unmarked[True], 0),
            )
        self._leased += len(leased)
        self._unmarked.update(_commands(leased))
        if len(leased) < self._batch or self._transport.state == "down":
            self._more = False
        elif len(self._lanes) < _LANES:
            self._start_lane()
        return leased

    async def _deliver(self, leased: list[Leased], leased_at: float) -> None:
        async with self._publishing:  # in the order of the leases
            if asyncio.get_running_loop().time() - leased_at > self._lease / 2:
                return  # the broker is slow: another relay may lease the batch before it is published
            outcomes = await self._transport.publish(leased)
        confirmed = [row for row, error in zip(leased, outcomes, strict=True) if error is None]
        async with self._pool.acquire() as connection:
            if confirmed:
                await outbox.mark_published(connection, confirmed)
            for row, error in zip(leased, outcomes, strict=True):
                if error is not None:
                    delay = failures.backoff(row.deliveries, base=_FIRST_DELAY, cap=_LONGEST_DELAY)
                    log.warning("not published", message_id=str(row.id), type=row.type, error=error)
                    await outbox.mark_unpublished(connection, row, error=error, delay=delay)


def _commands(leased: list[Leased]) -> Counter[bool]:
    return Counter(row.is_bulk for row in leased if row.kind == "command")
