"""An attempt at a command, in three transactions.

The first counts the attempt and notes the new state. The second takes the tenant's advisory lock, does the
work on that connection, and writes the next state, the handled mark and the events. The third records a
failure. Between the first and the second, a handler may do work that cannot run in a transaction.
"""

import asyncio
import socket
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec
import structlog
from asyncpg import Pool

from db.ledger import envelope, inbox, outbox, pause
from db.ledger.contracts import ContractError, Parked
from db.ledger.inbox import Entry, Failure
from db.migrations.lineage import Lineage
from db.migrations.run import current_revision
from db.session import locks
from db.session.connection import Connection
from db.tenants import registry
from provisioner import failures, metrics
from provisioner.handlers.handler import Handler, Handlers, Job

log = structlog.get_logger(__name__)

LOCK_TIMEOUT: Final = 1000
"""Milliseconds to wait for another delivery of the same command, and for a row in the first transaction."""
_ANSWER: Final = 5.0
"""Seconds that PostgreSQL has to answer a probe."""


class Policy(msgspec.Struct, frozen=True):
    """How often and how soon a command is tried again.

    Args:
        attempts: number of attempts after which the command is parked.
        retry_base: seconds before the first retry; the wait doubles with each attempt.
        retry_cap: seconds to wait at most.
        lock_timeout: seconds that the work's statements wait for a lock.
        newer_release_delay: seconds until a command for a newer release is delivered again.
    """

    attempts: int
    retry_base: float
    retry_cap: float
    lock_timeout: float
    newer_release_delay: float = 5.0

    def delay(self, attempts: int) -> float:
        """Return the seconds to wait after this number of attempts."""
        return failures.backoff(attempts, base=self.retry_base, cap=self.retry_cap)


class Attempts:
    """Makes attempts at commands. The caller must hold the message's lock.

    Args:
        pool: the owner's connections.
        handlers: handlers by command type.
        policy: how commands are tried again.
        shared: the shared lineage that this release knows; None if it need not be looked at.
    """

    def __init__(self, pool: Pool, handlers: Handlers, policy: Policy, shared: Lineage | None = None) -> None:
        self._pool = pool
        self._handlers = handlers
        self._policy = policy
        self._shared = shared
        self._unspent: set[UUID] = set()

    async def make(self, connection: Connection, message_id: UUID) -> None:
        """Make one attempt. When this returns, the outcome is in the ledger.

        Args:
            connection: a connection outside a transaction that holds the message's lock.
            message_id: id of the command.

        Raises:
            asyncpg.PostgresError, asyncpg.InterfaceError, OSError: PostgreSQL cannot be reached (one of
                `failures.AWAY`), and nothing was decided.
            asyncpg.LockNotAvailableError: the command's or the tenant's row is locked by somebody else.
        """
        job = await self._begin(connection, message_id)
        if job is None:
            return
        entry, handler = job.entry, self._handlers[job.entry.type]
        with structlog.contextvars.bound_contextvars(message_id=str(entry.id), type=entry.type):
            try:
                with metrics.attempt(entry.type):
                    await handler.prepare(connection, job)
                    await self._work(connection, handler, job)
            except failures.BusyError as error:
                await self._give_back(entry.id, error.delay)
            except failures.NewerReleaseError as error:
                await self._leave(entry, error)
            except failures.MISFITS as error:
                newer = await self._newer(error)
                await (self._leave(entry, newer) if newer else self._fail(entry, error))
            except asyncio.CancelledError:
                await asyncio.shield(self._give_back(entry.id, 0))
                raise
            except failures.AWAY as error:
                if not await self._is_its_own(error):
                    self._unspent.add(entry.id)
                    raise
                await self._fail(entry, error)
            except Exception as error:  # noqa: BLE001 - every error has to end in the ledger
                await self._fail(entry, error)

    async def bury(self, connection: Connection, message_id: UUID) -> None:
        """Take in a command that RabbitMQ gave up delivering, usually because too many consumers died.

        The command goes back to pending. It is parked only if it has used up its own attempts, since RabbitMQ
        counts a consumer's death against every message that was prefetched.

        Args:
            connection: a connection outside a transaction that holds the message's lock.
            message_id: id of the command.
        """
        async with connection.transaction():
            entry = await inbox.lock_open(connection, message_id, due=True)
            if entry is None:
                return
            log.warning("dead letter", message_id=str(message_id), attempts=entry.attempts)
            if entry.attempts >= self._policy.attempts:
                await self._park(connection, entry, failures.crash_loop(entry.attempts))
            else:
                why = Failure("dead_letter", "RabbitMQ gave up delivering it")
                await inbox.retry(connection, message_id, why, delay=self._policy.delay(entry.attempts + 1))

    async def give_up(self, connection: Connection, message_id: UUID, error: Exception) -> None:
        """Park an open command that could not even be begun or buried, because of a defect of this program.

        Args:
            connection: a connection outside a transaction that holds the message's lock.
            message_id: id of the command.
            error: what was raised.
        """
        async with connection.transaction():
            entry = await inbox.lock_open(connection, message_id)
            if entry is not None:
                await self._park(connection, entry, failures.failure(error))

    async def take_back(self, connection: Connection) -> None:
        """Give back the attempts that were cut short because PostgreSQL could not be reached."""
        while self._unspent:
            message_id = next(iter(self._unspent))
            with suppress(asyncpg.LockNotAvailableError):  # in hand elsewhere: the attempt stays spent
                async with connection.transaction():
                    await connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT}")
                    await inbox.give_back_attempt(connection, message_id, delay=0)
            self._unspent.discard(message_id)

    async def _begin(self, connection: Connection, message_id: UUID) -> Job[Any] | None:
        """Run the first transaction. Return the job, or None if no attempt is to be made."""
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT}")
            entry = await inbox.begin_attempt(connection, message_id)
            if entry is None:
                return None  # settled already, or waiting for a retry: a duplicate or a late delivery
            if await pause.is_paused(connection):
                await inbox.give_back_attempt(connection, message_id, delay=0)
                return None  # the relay keeps the command until the provisioners are resumed
            if entry.attempts > self._policy.attempts:
                await self._park(connection, entry, failures.crash_loop(entry.attempts - 1))
                return None
            try:
                handler = self._handler(entry)
                command = handler.read(entry)
            except (ContractError, failures.NewerReleaseError) as error:
                await self._refuse(connection, entry, error)
                return None
            tenant = await registry.lock(connection, entry.tenant_id) if entry.tenant_id else None
            job = Job(entry, command, tenant)
            if (handler.about_tenant and tenant is None) or not await handler.begin(connection, job):
                await inbox.mark_handled(connection, message_id, status="superseded")
                return None
            return job

    async def _refuse(
        self, connection: Connection, entry: Entry, error: ContractError | failures.NewerReleaseError
    ) -> None:
        """Park a command that nobody can read, in the first transaction, or leave it to a newer release."""
        if isinstance(error, ContractError):
            await self._park(connection, entry, failures.failure(error))
        else:
            delay = self._policy.newer_release_delay
            await inbox.give_back_attempt(connection, entry.id, delay=delay, failure=error.failure)

    async def _work(self, connection: Connection, handler: Handler[Any], job: Job[Any]) -> None:
        async with connection.transaction():
            if handler.about_tenant and not await locks.try_tenant(connection, job.tenant.id):
                raise failures.BusyError
            await connection.execute(f"SET LOCAL lock_timeout = {round(self._policy.lock_timeout * 1000)}")
            entry = await inbox.lock_open(connection, job.entry.id)
            if entry is None:
                return
            tenant = await registry.get(connection, entry.tenant_id) if entry.tenant_id else None
            outcome = await handler.work(connection, Job(entry, job.command, tenant))
            await inbox.mark_handled(connection, entry.id, status=outcome)
        slug = tenant.slug if tenant else None
        log.info("command done", outcome=outcome, tenant=slug, attempts=entry.attempts)

    async def _is_its_own(self, error: Exception) -> bool:
        """Return whether an error is the work's own, such as an unreadable file: if so, PostgreSQL still answers."""
        if failures.is_unencodable(error):
            return True
        if not isinstance(error, OSError) or isinstance(error, ConnectionError | socket.gaierror):
            return False
        try:
            async with asyncio.timeout(_ANSWER), self._pool.acquire() as connection:
                await connection.execute("SELECT 1")
        except failures.AWAY:
            return False
        return True

    async def _fail(self, entry: Entry, error: Exception) -> None:
        failure = failures.failure(error)
        transient = isinstance(error, failures.TRANSIENT)
        async with self._pool.acquire() as connection, connection.transaction():
            if transient and entry.attempts < self._policy.attempts:
                delay = self._policy.delay(entry.attempts)
                log.warning("command failed", error_class=failure.error_class, retry_in=round(delay, 1))
                await inbox.retry(connection, entry.id, failure, delay=delay)
            else:
                log.error("command parked", error_class=failure.error_class, error=failure.error)
                await self._park(connection, entry, failure)

    async def _park(self, connection: Connection, entry: Entry, failure: Failure) -> None:
        if not await inbox.park(connection, entry.id, failure):
            return
        parked = Parked(message_id=entry.id, message_type=entry.type, error_class=failure.error_class)
        tenant = await registry.lock(connection, entry.tenant_id) if entry.tenant_id else None
        handler = self._handlers.get(entry.type)
        if handler is not None:
            await handler.gave_up(connection, entry, tenant, failure)
        if tenant is None:
            await outbox.append(connection, [envelope.message(parked, caused_by=entry.id)])
        else:
            await registry.tell(connection, tenant, parked, caused_by=entry.id)

    async def _give_back(self, message_id: UUID, delay: float, failure: Failure | None = None) -> None:
        async with self._pool.acquire() as connection:
            await inbox.give_back_attempt(connection, message_id, delay=delay, failure=failure)

    async def _leave(self, entry: Entry, error: failures.NewerReleaseError) -> None:
        log.info("left to a newer release", error=error.failure.error)
        await self._give_back(entry.id, self._policy.newer_release_delay, error.failure)

    async def _newer(self, error: Exception) -> failures.NewerReleaseError | None:
        """Return the error of an attempt that failed because ``shared`` is a newer release's, or None.

        What a tenant's revision meets is its own failure.
        """
        if self._shared is None or (failures.frame(error.__traceback__) or "").startswith("db/migrations/"):
            return None
        async with self._pool.acquire() as connection:
            revision = await current_revision(connection, "shared")
        if revision is None or self._shared.knows(revision):
            return None
        return failures.NewerReleaseError(
            "UnknownSharedRevisionError", f"revision {revision} of shared", error
        )

    def _handler(self, entry: Entry) -> Handler[Any]:
        handler = self._handlers.get(entry.type)
        if handler is None:
            raise failures.unhandled(entry.type)
        return handler
