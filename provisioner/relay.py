"""The relay: from the ledger to the transport. Several may run, since each leases what it claims.

Woken by NOTIFY, it polls all the same. No lock is held while the network is waited for.
"""

import asyncio
from contextlib import suppress

import asyncpg
import structlog
from asyncpg import Pool

from db import ledger
from db.connection import Connection
from db.ledger import Claim
from provisioner import failures, metrics
from provisioner.transport import Transport

log = structlog.get_logger(__name__)

_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0
_PROBE_EVERY = 15.0
_PROBE_TIMEOUT = 10.0
_BATCHES = 4
"""Batches on their way at once: one being claimed, two at the broker, one being marked."""
_PUBLISHED = 2
"""Batches at the broker at once: it syncs the one while the other is sent."""
_RECONNECT = 0.5
"""Seconds between tries to listen again."""


class Relay:
    """Publishes what is due.

    Args:
        pool: the owner's connections.
        url: the owner's address, for a listening connection of its own.
        transport: where to.
        batch: rows claimed at once.
        lease: seconds a claim lasts; at least twice as long as a publish may take.
        poll: seconds between looks when nothing wakes it.
        in_flight: commands published and not handled, at most.
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
    ) -> None:
        self._pool = pool
        self._url = url
        self._transport = transport
        self._batch = batch
        self._lease = lease
        self._poll = poll
        self._in_flight = in_flight
        self._wake = asyncio.Event()
        self._publishing = asyncio.Semaphore(_PUBLISHED)
        self._unmarked = 0
        """Commands claimed and not marked yet, which the ledger does not count as in flight."""

    async def run(self) -> None:
        """Publish until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._publish_for_ever())

    async def _publish_for_ever(self) -> None:
        while True:
            await self._transport.wait_up()
            self._wake.clear()
            looked_at = asyncio.get_running_loop().time()
            try:
                claimed = await self.publish_due()
                wait = 0.0 if claimed else await self._until_next(looked_at)
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
        """Claim what is due, publish it, and mark what was confirmed; return how many were claimed.

        While full batches come, the next one is claimed and the last one is marked while others are
        published: the broker and the ledger would keep each other waiting for half of the time otherwise.
        """
        claimed, more = 0, True
        claiming = asyncio.Lock()

        async def batches() -> None:
            nonlocal claimed, more
            try:
                while True:
                    async with claiming:
                        if not more:
                            return
                        claimed_at = asyncio.get_running_loop().time()
                        # What is leased is still pending, and so holds back what comes after it.
                        claims = await self._claim()
                        claimed += len(claims)
                        commands = sum(claim.kind == "command" for claim in claims)
                        self._unmarked += commands
                        more = len(claims) >= self._batch and self._transport.state != "down"
                    try:
                        await self._deliver(claims, claimed_at)
                    finally:
                        self._unmarked -= commands
            except Exception:
                more = False  # what is on its way ends first
                raise

        ended = await asyncio.gather(*(batches() for _ in range(_BATCHES)), return_exceptions=True)
        failed = [end for end in ended if end is not None]
        if failed:
            raise next((error for error in failed if not isinstance(error, failures.NOT_NOW)), failed[0])
        return claimed

    async def _claim(self) -> list[Claim]:
        async with self._pool.acquire() as connection:
            room = max(self._in_flight - self._unmarked, 0)
            return await ledger.claim(connection, limit=self._batch, lease=self._lease, in_flight=room)

    async def _deliver(self, claims: list[Claim], claimed_at: float) -> None:
        if not claims:
            return
        async with self._publishing:  # begun in the order of their claims
            if asyncio.get_running_loop().time() - claimed_at > self._lease / 2:
                return  # the broker is slow, and another relay may claim them before they are published
            outcomes = await self._transport.publish(claims)
        confirmed = [claim for claim, error in zip(claims, outcomes, strict=True) if error is None]
        async with self._pool.acquire() as connection:
            if confirmed:
                await ledger.mark_published(connection, confirmed)
            for claim, error in zip(claims, outcomes, strict=True):
                if error is not None:
                    await self._not_published(connection, claim, error)

    async def _not_published(self, connection: Connection, claim: Claim, error: str) -> None:
        delay = failures.backoff(claim.deliveries, base=_FIRST_DELAY, cap=_LONGEST_DELAY)
        log.warning("not published", message_id=str(claim.id), type=claim.type, error=error)
        await ledger.mark_unpublished(connection, claim, error=error, delay=delay)

    async def _until_next(self, looked_at: float) -> float:
        async with self._pool.acquire() as connection:
            due = await ledger.next_due(connection, looked=asyncio.get_running_loop().time() - looked_at)
        return self._poll if due is None else min(due, self._poll)

    async def _listen(self) -> None:
        """Keep a connection listening; each new one wakes the relay, since a notice may have been lost."""
        while True:
            try:
                connection = await asyncpg.connect(self._url, timeout=_PROBE_TIMEOUT)
                try:
                    gone = asyncio.Event()
                    connection.add_termination_listener(lambda *_, gone=gone: gone.set())
                    await connection.add_listener(ledger.CHANNEL, lambda *_: self._wake.set())
                    self._wake.set()
                    while not gone.is_set():
                        # A half-open connection says nothing: ask it now and then.
                        await connection.execute("SELECT 1", timeout=_PROBE_TIMEOUT)
                        with suppress(TimeoutError):
                            async with asyncio.timeout(_PROBE_EVERY):
                                await gone.wait()
                finally:
                    connection.terminate()
            except failures.NOT_NOW as error:
                log.warning("not listening", error=repr(error))
            await asyncio.sleep(_RECONNECT)
