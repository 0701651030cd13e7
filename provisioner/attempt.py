"""An attempt at a command, in three transactions.

First: the state, and an attempt more. Second: the tenant's advisory lock, the work on that connection, the
new state, the handled mark and the events. A failure is recorded in a third. Between the first and the
second, a handler may do what no transaction can hold.
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
from db.session import locks
from db.session.connection import Connection
from db.tenants import registry
from provisioner import failures, metrics
from provisioner.handlers.handler import Handler, Handlers, Job

log = structlog.get_logger(__name__)

BUSY_DELAY: Final = 0.5
"""Seconds until a command whose tenant or row is in use is delivered again."""
LOCK_TIMEOUT: Final = 1000
"""Milliseconds that a command waits for the end of a copy, and its first transaction for a row."""
_ANSWER: Final = 5.0
"""Seconds that PostgreSQL has to answer whether it is there."""


class Policy(msgspec.Struct, frozen=True):
    """How often and how soon a command is tried again.

    Args:
        attempts: after so many it is parked.
        retry_base: seconds before the first retry, doubling after that.
        retry_cap: seconds of the longest wait.
        lock_timeout: seconds that DDL waits for a lock.
    """

    attempts: int
    retry_base: float
    retry_cap: float
    lock_timeout: float

    def delay(self, attempts: int) -> float:
        """Return the seconds to wait after so many attempts."""
        return failures.backoff(attempts, base=self.retry_base, cap=self.retry_cap)


class Attempts:
    """Makes attempts at commands; whoever calls holds the message's lock.

    Args:
        pool: the owner's connections.
        handlers: by the types of their commands.
        policy: for retries.
    """

    def __init__(self, pool: Pool, handlers: Handlers, policy: Policy) -> None:
        self._pool = pool
        self._handlers = handlers
        self._policy = policy
        self._unspent: set[UUID] = set()

    async def make(self, connection: Connection, message_id: UUID) -> None:
        """Make one attempt. When this returns, the ledger has it whatever came of it.

        Args:
            connection: outside a transaction; it holds the message's lock.
            message_id: the command's.

        Raises:
            asyncpg.PostgresError, OSError: PostgreSQL is away, and nothing was decided.
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
            except failures.BusyError:
                await self._give_back(entry.id, BUSY_DELAY)
            except asyncio.CancelledError:
                await asyncio.shield(self._give_back(entry.id, 0))
                raise
            except failures.AWAY as error:
                if not await self._is_its_own(error):
                    self._unspent.add(entry.id)
                    raise
                await self._fail(entry, error)
            except Exception as error:  # noqa: BLE001 - whatever it is, the message's fate is decided here
                await self._fail(entry, error)

    async def bury(self, connection: Connection, message_id: UUID) -> None:
        """Take in a command that RabbitMQ gave up on, after too many dead consumers as a rule.

        It goes back to pending: each death counted against everything prefetched, so it is parked only
        at its own attempts limit.

        Args:
            connection: outside a transaction; it holds the message's lock.
            message_id: the command's.
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

    async def take_back(self, connection: Connection) -> None:
        """Take back the attempts that the absence of PostgreSQL cost."""
        while self._unspent:
            message_id = next(iter(self._unspent))
            with suppress(asyncpg.LockNotAvailableError):  # another delivery is at work: one attempt more
                async with connection.transaction():
                    await connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT}")
                    await inbox.give_back_attempt(connection, message_id, delay=0)
            self._unspent.discard(message_id)

    async def _begin(self, connection: Connection, message_id: UUID) -> Job[Any] | None:
        """Count the attempt; return None if there is to be none."""
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT}")
            entry = await inbox.begin_attempt(connection, message_id)
            if entry is None:
                return None  # settled already, or waiting for its time: a duplicate, or a late delivery
            if await pause.is_paused(connection):
                await inbox.give_back_attempt(connection, message_id, delay=0)
                return None  # the relay keeps it until somebody resumes
            if entry.attempts > self._policy.attempts:
                await self._park(connection, entry, failures.crash_loop(entry.attempts - 1))
                return None
            try:
                handler = self._handler(entry)
                command = handler.read(entry)
            except ContractError as error:
                await self._park(connection, entry, failures.failure(error))
                return None
            tenant = await registry.lock(connection, entry.tenant_id) if entry.tenant_id else None
            job = Job(entry, command, tenant)
            if (handler.about_tenant and tenant is None) or not await handler.begin(connection, job):
                await inbox.mark_handled(connection, message_id, status="superseded")
                return None
            return job

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
        """Say whether it is the work's own, such as a file that cannot be read: PostgreSQL answers."""
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

    async def _give_back(self, message_id: UUID, delay: float) -> None:
        async with self._pool.acquire() as connection:
            await inbox.give_back_attempt(connection, message_id, delay=delay)

    def _handler(self, entry: Entry) -> Handler[Any]:
        handler = self._handlers.get(entry.type)
        if handler is None:
            raise ContractError(f"this provisioner has no handler of {entry.type}")
        return handler
