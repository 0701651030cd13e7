"""Upkeep: sends heartbeats, publishes lost commands again, deletes rows past their retention and unused roles."""

import asyncio
import os
from uuid import UUID

import structlog
import uuid_utils.compat as uuid7
from asyncpg import Pool

from db.control import rollouts
from db.ledger import heartbeats, outbox
from db.server import repair
from db.session.connection import Connection
from db.tenants import idempotency, tokens
from provisioner import failures
from provisioner.transport import Transport

log = structlog.get_logger(__name__)

_SWEEP_EVERY = 3600.0
_SWEEP = 1000


class StuckError(Exception):
    """This process has not been receiving for too long, or has had a message in hand for too long."""


class Upkeep:
    """Does a provisioner's periodic work. A watchdog ends a process that no longer receives or gets done.

    Args:
        pool: the owner's connections.
        transport: the transport whose state and load the heartbeats report.
        interval: seconds between heartbeats.
        silent_after: seconds after which another provisioner's heartbeat no longer counts.
        republish_after: seconds after which a published command that nobody has in hand counts as lost.
        retention_days: days to keep handled commands and published events.
        watchdog: seconds that the process may go without receiving while messages wait.
        delivery_timeout: seconds that a message may be in hand, its wait for a slot aside.
    """

    def __init__(
        self,
        pool: Pool,
        transport: Transport,
        *,
        interval: float,
        silent_after: float,
        republish_after: float,
        retention_days: int,
        watchdog: float,
        delivery_timeout: float,
    ) -> None:
        self._pool = pool
        self._transport = transport
        self._interval = interval
        self._silent_after = silent_after
        self._republish_after = republish_after
        self._retention_days = retention_days
        self._watchdog = watchdog
        self._delivery_timeout = delivery_timeout
        self._deaf_since: float | None = None
        self.id: UUID = uuid7.uuid7()

    async def take_over(self) -> None:
        """Publish again the commands that a dead process on this host had in hand, if there is no broker.

        Call this before anything is published, so that no command is in this process's own hands.
        """
        if self._transport.state == "in-process":
            async with self._pool.acquire() as connection:
                await self._forget_the_dead(connection)
                await self._recover(connection, older_than=0)

    async def run(self) -> None:
        """Do the periodic work until cancelled.

        Raises:
            StuckError: the process has not been receiving for too long, although messages wait, or has had
                a message in hand for too long.
        """
        loop = asyncio.get_running_loop()
        looked = swept = loop.time()
        first = True
        while True:
            try:
                async with self._pool.acquire() as connection:
                    await self._beat(connection)
                    await self._watch(loop.time())
                    if loop.time() - looked > self._republish_after / 2:
                        looked = loop.time()
                        await self._recover(connection, older_than=self._republish_after)
                    if first or loop.time() - swept > _SWEEP_EVERY:
                        swept = loop.time()
                        while (
                            await outbox.sweep(connection, days=self._retention_days, limit=_SWEEP) == _SWEEP
                        ):
                            await self._beat(connection)
                        await idempotency.sweep(connection, days=self._retention_days)
                        await tokens.sweep(connection, days=self._retention_days)
                        await rollouts.sweep(connection, days=self._retention_days)
                        await repair.drop_unused(connection)
                    first = False
            except failures.NOT_NOW as error:
                log.warning("no heartbeat", error=repr(error))
            await asyncio.sleep(self._interval)

    async def stop(self) -> None:
        """Delete this process's heartbeat, so that it no longer counts as running."""
        async with self._pool.acquire() as connection:
            await heartbeats.remove(connection, self.id)

    async def _watch(self, now: float) -> None:
        """Check that this process receives and gets done. It is called only when PostgreSQL has just answered.

        Raises:
            StuckError: the process has not been receiving for too long, although messages wait, or has had a
                message in hand for too long; a restart helps.
        """
        if self._transport.held_for > self._delivery_timeout:
            raise StuckError(f"a message has been in hand for more than {self._delivery_timeout:g} s")
        if self._transport.receiving or self._transport.state != "up":
            self._deaf_since = None
            return
        self._deaf_since = self._deaf_since or now
        if now - self._deaf_since > self._watchdog and await self._transport.ready():
            raise StuckError(f"nothing received for {self._watchdog:g} s, though messages wait")

    async def _beat(self, connection: Connection) -> None:
        state, in_hand = self._transport.state, self._transport.in_hand
        await heartbeats.beat(connection, self.id, os.getpid(), state, in_hand)
        await heartbeats.sweep(connection, silent_after=self._silent_after * 4)

    async def _forget_the_dead(self, connection: Connection) -> None:
        """Delete the heartbeats of this host's processes that no longer run: they hold no commands."""
        pids = await heartbeats.list_pids(connection)
        await heartbeats.remove(connection, *(id_ for id_, pid in pids.items() if not _is_running(pid)))

    async def _recover(self, connection: Connection, *, older_than: float) -> None:
        ready = await self._transport.ready()
        if ready is None:
            return  # how many commands the broker has is not known now
        in_hand = await heartbeats.count_in_hand(connection, silent_after=self._silent_after)
        count = await outbox.republish(connection, older_than=older_than, held=ready + in_hand)
        if count:
            log.warning("published again", commands=count)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # the process runs, and belongs to another user
    return True
