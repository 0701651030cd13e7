"""The handler of ``rollout.wave``, which carries out a wave of a rollout, several tenants at once.

Each tenant is a transaction of its own. What goes wrong in one is its own failure, which is counted; the command itself
fails only where the rollout as a whole cannot go on.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import ClassVar, Final
from uuid import UUID

import asyncpg
import structlog

from db.control import rollout_orders, rollout_steps, waves
from db.control.rollout_script import Scripts
from db.control.rollout_steps import Claimed
from db.control.waves import Work
from db.ledger import contracts
from db.ledger.contracts import ContractError
from db.ledger.inbox import Entry, Failure
from db.server import installation
from db.session import locks
from db.session.connection import Connection
from db.session.failures import UnavailableError
from db.session.pooler import Plain
from db.session.transaction import PoisonedError
from db.tenants import registry
from db.tenants.registry import Tenant
from provisioner import failures
from provisioner.failures import BusyError, NewerReleaseError
from provisioner.handlers.feed import Feed
from provisioner.handlers.handler import Handler, Job, Outcome
from provisioner.handlers.tasks import Tasks
from provisioner.handlers.upgrades import Upgrades

log = structlog.get_logger(__name__)

_SLICE: Final = 60.0
"""Seconds after which the command is given back and delivered again, so that no delivery takes for ever."""
_ATTEMPTS: Final = 3
"""How often a tenant is tried whose failures may pass by themselves, such as a lock that is held too long."""
_PASSING: Final = (*failures.TRANSIENT, UnavailableError, PoisonedError)
"""What a tenant is tried again after. The last two are those of the API's login."""
_MOST_ATTEMPTS: Final = 8
"""How often a tenant is begun, also by processes that died of it."""
_RETRY: Final = 1.0
"""Seconds until a tenant is tried again; twice as many the next time."""
_NOT_AS_CLAIMED: Final = (
    asyncpg.DivisionByZeroError,  # a check of the message's has failed
    asyncpg.UndefinedTableError,  # the tenant was purged, and its schema is gone
)
_LOCKED: Final = 1.0
"""Seconds until a tenant is looked at again that somebody else works on."""
_SERVES: Final = 500
"""Tenants that a session works on. PostgreSQL keeps in each session what it knows of every table."""

_CLOSING: Final = 2.0
"""Seconds that PostgreSQL may take to say good-bye."""

Open = Callable[[], Awaitable[Plain]]


class WaveHandler(Handler[contracts.Wave]):
    """Carries out waves.

    Args:
        open_session: opens a connection of the owner.
        upgrades: brings schemas to revisions.
        tasks: runs tasks in tenants.
        lock_timeout: seconds that a statement waits for a table's lock.
    """

    types: ClassVar = (contracts.Wave.type,)
    about_tenant: ClassVar = False

    def __init__(self, open_session: Open, upgrades: Upgrades, tasks: Tasks, *, lock_timeout: float) -> None:
        self._open = open_session
        self._upgrades = upgrades
        self._tasks = tasks
        self._lock_timeout = lock_timeout

    async def begin(self, connection: Connection, job: Job[contracts.Wave], /) -> bool:
        return await waves.begin(connection, job.command, job.entry.id)

    async def prepare(self, connection: Connection, job: Job[contracts.Wave], /) -> None:
        work = await waves.get(connection, job.command.rollout_id)
        await self._check_known(connection, work)
        baking = 0.0 if work.baked_at is None else work.baked_at.timestamp() - time.time()
        if baking > 0:
            raise BusyError(baking)
        if not await waves.hold(connection, work.id):
            raise BusyError  # those who carried it out before it was paused are not at their end yet
        try:
            await waves.reclaim(connection, work.id)
            await self._carry_out(work, job.entry.id)
        finally:
            with suppress(*failures.AWAY):  # the lock goes with the session
                await waves.release(connection, work.id)

    async def work(self, connection: Connection, job: Job[contracts.Wave], /) -> Outcome:
        work = await waves.get(connection, job.command.rollout_id)
        choice = rollout_orders.choice(self._upgrades.lineage, work.target, work.filter)
        wait = await waves.settle(connection, work, choice, caused_by=job.entry.id)
        if wait is not None:
            raise BusyError(wait)
        return "handled"

    async def gave_up(
        self, connection: Connection, entry: Entry, tenant: Tenant | None, failure: Failure, /
    ) -> None:
        del tenant  # there is none
        with suppress(ContractError):  # the payload names no rollout; the event `message.parked` reports it
            rollout_id = self.read(entry).rollout_id
            why = f"{failure.error_class}: {failure.error}"
            await waves.halt(connection, rollout_id, why, error_class=failure.error_class, caused_by=entry.id)

    async def _check_known(self, connection: Connection, work: Work) -> None:
        try:
            if work.task is not None:
                self._tasks.check_known(work.task)
            else:
                self._upgrades.check_known(work.target or "")
        except NewerReleaseError:
            await waves.note(connection, work.id, waves.WAITS)
            raise
        await waves.note(connection, work.id, None)

    async def _carry_out(self, work: Work, message_id: UUID) -> None:
        """Work on the wave's tenants until none waits, the rollout stops, or the slice is over.

        Raises:
            Exception: PostgreSQL is away; tenants in hand are claimed anew.
        """
        feed = Feed(work, until=time.monotonic() + _SLICE)
        workers = [asyncio.create_task(self._serve(work, feed, message_id)) for _ in range(work.concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _serve(self, work: Work, feed: Feed, message_id: UUID) -> None:
        """Work on one tenant after the other, by a connection of its own."""
        scripts = None
        if work.target is not None:
            scripts = Scripts(
                self._upgrades.lineage, work.target, work.id, message_id, lock_timeout=self._lock_timeout
            )
        while not feed.over:
            session = await self._open()
            try:
                ours = await installation.of(session)
                for _ in range(_SERVES):
                    claimed = await feed.next(session)
                    if claimed is None:
                        return
                    quick = None if ours.citus else scripts
                    await self._attempt(session, work, claimed, quick, feed, message_id)
            finally:
                await _close(session)

    async def _attempt(
        self,
        session: Plain,
        work: Work,
        claimed: Claimed,
        scripts: Scripts | None,
        feed: Feed,
        message_id: UUID,
    ) -> None:
        """Bring a tenant to where the rollout takes it: by its message if it has one, or else the long way."""
        tenant_id = claimed.tenant.id
        if claimed.attempts > _MOST_ATTEMPTS:
            crashed = failures.crash_loop(claimed.attempts - 1)
            await self._fail(session, work, tenant_id, crashed, feed, message_id)
            return
        try:
            text = scripts.text(claimed.tenant) if scripts else None
            if text is None or not await _sent(session, text):
                await self._bring(session, work, claimed, message_id)
        except BusyError as error:
            await rollout_steps.give_back(session, work.id, tenant_id, delay=error.delay, failure=None)
        except Exception as error:
            if session.is_closed():
                raise
            failure = failures.failure(error)
            log.warning(
                "tenant of a rollout failed", tenant_id=f"{tenant_id}", error_class=failure.error_class
            )
            if isinstance(error, _PASSING) and claimed.attempts < _ATTEMPTS:
                delay = _RETRY * 2 ** (claimed.attempts - 1)
                await rollout_steps.give_back(session, work.id, tenant_id, delay=delay, failure=failure)
            else:
                await self._fail(session, work, tenant_id, failure, feed, message_id)

    async def _fail(
        self, session: Plain, work: Work, tenant_id: UUID, failure: Failure, feed: Feed, message_id: UUID
    ) -> None:
        async with session.transaction():
            goes_on = await rollout_steps.fail(session, work, tenant_id, failure, caused_by=message_id)
        if not goes_on:
            await feed.stop(session)

    async def _bring(self, session: Plain, work: Work, claimed: Claimed, message_id: UUID) -> None:
        """Bring a tenant to where the rollout takes it.

        Raises:
            BusyError: somebody else works on it.
        """
        online = False
        async with session.transaction():
            if not await locks.try_tenant(session, claimed.tenant.id):
                raise BusyError(_LOCKED)
            await session.execute(f"SET LOCAL lock_timeout = {round(self._lock_timeout * 1000)}")
            if not await rollout_steps.is_open(session, work.id, claimed.tenant.id):
                return
            if not await waves.runs(session, work.id):
                raise BusyError(0)  # it was paused, halted or aborted since the claim
            tenant = await registry.get(session, claimed.tenant.id)
            assert tenant is not None  # registry rows are never deleted
            if tenant.status in {"purging", "purged"}:
                await rollout_steps.end(session, work.id, tenant.id, "skipped")
                return
            if work.target is not None:
                current = await self._upgrades.current(session, tenant)
                online = self._upgrades.needs_online(current, work.target)
                if not online:
                    await self._upgrade(session, work, tenant, current, message_id)
        if online:
            await self._upgrade_online(session, work, tenant, claimed, message_id)
        elif work.task is not None:
            await self._tasks.run(session, work, tenant)

    async def _upgrade(
        self, session: Plain, work: Work, tenant: Tenant, current: str | None, message_id: UUID
    ) -> None:
        assert work.target is not None  # the caller has looked
        behind = self._upgrades.is_behind(current, work.target)
        if behind:
            await self._upgrades.run_script(session, tenant, current, work.target, caused_by=message_id)
        await rollout_steps.end(session, work.id, tenant.id, "done" if behind else "skipped")

    async def _upgrade_online(
        self, session: Plain, work: Work, tenant: Tenant, claimed: Claimed, message_id: UUID
    ) -> None:
        assert work.target is not None  # the caller has looked
        keep = partial(rollout_steps.keep, session, work.id, tenant.id)
        await self._upgrades.run_online(
            session, tenant, work.target, keep, before=claimed.error_class, caused_by=message_id
        )
        await rollout_steps.end(session, work.id, tenant.id, "done")


async def _close(session: Plain) -> None:
    """Say good-bye to PostgreSQL, or just hang up where that cannot be."""
    try:
        await session.close(timeout=_CLOSING)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        session.terminate()


async def _sent(session: Plain, text: str) -> bool:
    """Send a tenant's message. Return False if something was not as the claim saw it, and nothing was changed.

    Raises:
        asyncpg.PostgresError: a statement failed, and nothing was changed.
    """
    try:
        await session.execute(text)
    except _NOT_AS_CLAIMED:
        await session.execute("ROLLBACK")
        return False
    except asyncpg.PostgresError:
        if not session.is_closed():
            await session.execute("ROLLBACK")
        raise
    return True
