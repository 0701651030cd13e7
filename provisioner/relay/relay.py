"""The relay: from the ledger to the transport. Several may run, since each leases what it claims.

Woken by NOTIFY, it polls all the same. No lock is held while the network is waited for.
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
"""Seconds between looks whether the listening connection still answers."""
_RECONNECT = 0.5
"""Seconds until the ledger is looked at again after a failure."""


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
        self._transport = transport
        self._batch = batch
        self._lease = lease
        self._poll = poll
        self._in_flight = in_flight
        self._wake = asyncio.Event()
        self._listener = Listener(url, listening.LEDGER, self._wake.set, probe=_PROBE_EVERY)

    async def run(self) -> None:
        """Publish until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listener.run())
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
        """Claim what is due, publish it, and mark what was confirmed; return how many were claimed."""
        drain = Drain(
            self._pool, self._transport, batch=self._batch, lease=self._lease, in_flight=self._in_flight
        )
        return await drain.run()

    async def _until_next(self, looked_at: float) -> float:
        async with self._pool.acquire() as connection:
            due = await outbox.next_due(connection, looked=asyncio.get_running_loop().time() - looked_at)
        return self._poll if due is None else min(due, self._poll)
