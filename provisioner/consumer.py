"""The consumer: a command's three transactions, whatever carried it here.

First: the state, and an attempt more. Second: the tenant's advisory lock, the work on that connection,
the new state, the handled mark and the events. A failure is recorded in a third. Between the first and
the second, a handler may do what no transaction can hold. From before the first to after the last, the
message's own advisory lock keeps its copies out, here and in all other provisioners.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from uuid import UUID

import asyncpg
import msgspec
import structlog
from asyncpg import Pool

from db import contracts, ledger, registry, switches
from db.connection import Connection
from db.contracts import Command, ContractError, Parked
from db.ledger import Entry, Failure
from db.migrations.run import TRY_TENANT_LOCK
from db.registry import Tenant
from provisioner import failures, metrics
from provisioner.handlers.handler import Handler, Preparing
from provisioner.signups import Signups
from provisioner.transport import DatabaseAway

log = structlog.get_logger(__name__)

_BUSY_DELAY = 0.5
"""Seconds until a command whose tenant is being worked on is delivered again."""
_COPY_DELAY = 15.0
"""Seconds until a command that another delivery has in hand is looked at again."""
_ANSWER = 5.0
"""Seconds that PostgreSQL has to answer whether it is there."""
_BEGIN_LOCK_TIMEOUT = 1000
"""Milliseconds that a command waits for a copy's end, and its first transaction for a row."""
_PROBE_INTERVAL = 0.5
"""Seconds between looks whether PostgreSQL is back."""


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


class Consumer:
    """Handles commands; a transport's `Intake`.

    Args:
        pool: the owner's connections.
        handlers: by command type.
        policy: for retries.
    """

    def __init__(self, pool: Pool, handlers: Mapping[str, Handler], policy: Policy) -> None:
        self._pool = pool
        self._handlers = handlers
        self._policy = policy
        self._signups = Signups(pool)
        self._unspent: set[UUID] = set()

    async def command(self, message_id: str | None, body: bytes) -> None:
        """Handle one delivery. What the ledger does not know is parked as ``unknown``, once.

        Raises:
            DatabaseAway: nothing was decided; deliver it again.
        """
        try:
            known = await self._known(message_id)
            if known is None:
                await self._park_unknown(message_id, body)
            else:
                await self._alone(known, self._handle)
        except failures.NOT_NOW as error:
            raise DatabaseAway from error

    async def signup(self, message_id: str | None, body: bytes) -> None:
        """Take in a sign-up from outside. What is none is parked as ``unknown``, once.

        Raises:
            DatabaseAway: nothing was decided; deliver it again.
        """
        try:
            try:
                admitted = await self._signups.admit(_parsed(message_id), body)
            except ContractError as error:
                await self._park_unknown(message_id, body, failures.failure(error))
                return
            if admitted is not None:
                await self._alone(admitted, self._sign_up)
        except failures.NOT_NOW as error:
            raise DatabaseAway from error

    async def dead(self, message_id: str | None, body: bytes) -> None:
        """Take in a message that RabbitMQ gave up on, after too many dead consumers as a rule.

        It goes back to pending: each death counted against everything prefetched, so it is parked only
        at its own attempts limit.

        Raises:
            DatabaseAway: nothing was decided; deliver it again.
        """
        try:
            known = await self._known(message_id)
            if known is None:
                await self._park_unknown(message_id, body)
            else:
                await self._alone(known, self._bury)
        except failures.NOT_NOW as error:
            raise DatabaseAway from error

    async def database_back(self) -> None:
        """Wait until PostgreSQL answers, then take back the attempts that its absence cost."""
        while True:
            try:
                async with self._pool.acquire() as connection:
                    await connection.execute("SELECT 1")
                    while self._unspent:
                        await self._take_back(connection, next(iter(self._unspent)))
            except failures.NOT_NOW:
                await asyncio.sleep(_PROBE_INTERVAL)
            else:
                return

    async def _take_back(self, connection: Connection, message_id: UUID) -> None:
        with suppress(asyncpg.LockNotAvailableError):  # another delivery is at work: it is one attempt more
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = {_BEGIN_LOCK_TIMEOUT}")
                await ledger.give_back_attempt(connection, message_id, delay=0)
        self._unspent.discard(message_id)

    async def _known(self, message_id: str | None) -> UUID | None:
        parsed = _parsed(message_id)
        if parsed is None:
            return None
        async with self._pool.acquire() as connection:
            return parsed if await ledger.is_known(connection, parsed) else None

    async def _park_unknown(
        self, message_id: str | None, body: bytes, failure: Failure | None = None
    ) -> None:
        log.warning("unknown message parked", message_id=message_id, size=len(body))
        failure = failure or Failure("unknown", f"no command {message_id!r} in the ledger")
        async with self._pool.acquire() as connection, connection.transaction():
            parked = await ledger.park_unknown(connection, body, failure)
            if parked is not None:
                event = Parked(message_id=parked, message_type="unknown", error_class=failure.error_class)
                await ledger.append(connection, [contracts.message(event, caused_by=parked)])

    async def _alone(self, message_id: UUID, handle: Callable[[Connection, UUID], Awaitable[None]]) -> None:
        """Handle a message, unless another delivery of it is being handled, here or elsewhere.

        Two at once would count two attempts for one death. That other delivery decides; the copy is looked
        at again later all the same, since its machine may be gone. Where that one has the row locked
        already, nothing can be noted, and the ledger publishes the command again in its time.
        """
        async with self._pool.acquire() as connection:  # gives all its locks up when it goes back
            try:
                await ledger.hold(connection, message_id, wait=_BEGIN_LOCK_TIMEOUT)
            except asyncpg.LockNotAvailableError:
                await ledger.postpone(connection, message_id, delay=_COPY_DELAY)
                return
            try:
                await handle(connection, message_id)
            except asyncpg.LockNotAvailableError:  # somebody is changing the message or its tenant
                await ledger.postpone(connection, message_id, delay=_BUSY_DELAY)

    async def _handle(self, connection: Connection, message_id: UUID) -> None:
        begun = await self._begin(connection, message_id)
        if begun is None:
            return
        entry, command, tenant = begun

        async def work() -> None:
            handler = self._handlers[entry.type]
            if isinstance(handler, Preparing):
                await handler.prepare(connection, tenant, entry, command)
            await self._work(connection, entry, command)

        await self._attempt(entry, work)

    async def _sign_up(self, connection: Connection, message_id: UUID) -> None:
        async with connection.transaction():
            entry = await self._begin_attempt(connection, message_id)
        if entry is not None:
            await self._attempt(entry, lambda: self._signups.work(connection, entry))

    async def _bury(self, connection: Connection, message_id: UUID) -> None:
        async with connection.transaction():
            entry = await ledger.lock_open(connection, message_id, due=True)
            if entry is None:
                return
            log.warning("dead letter", message_id=str(message_id), attempts=entry.attempts)
            if entry.attempts >= self._policy.attempts:
                await self._park(connection, entry, failures.crash_loop(entry.attempts))
            else:
                wait = self._backoff(entry.attempts + 1)
                note = Failure("dead_letter", "RabbitMQ gave up delivering it")
                await ledger.retry(connection, message_id, note, delay=wait)

    async def _attempt(self, entry: Entry, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work; whatever comes of it, the message's fate is decided when this returns."""
        with structlog.contextvars.bound_contextvars(message_id=str(entry.id), type=entry.type):
            try:
                with metrics.attempt(entry.type):
                    await work()
            except failures.Busy:
                await self._give_back(entry.id, _BUSY_DELAY)
            except asyncio.CancelledError:
                await asyncio.shield(self._give_back(entry.id, 0))
                raise
            except failures.AWAY as error:
                if not await self._own(error):
                    self._unspent.add(entry.id)
                    raise
                await self._failed(entry, error)
            except Exception as error:  # noqa: BLE001 - whatever it is, the message's fate is decided here
                await self._failed(entry, error)

    async def _begin(self, connection: Connection, message_id: UUID) -> tuple[Entry, Command, Tenant] | None:
        async with connection.transaction():
            entry = await self._begin_attempt(connection, message_id)
            if entry is None:
                return None
            try:
                command = contracts.command(entry.type, entry.payload or "")
                handler = self._handlers[entry.type]
            except (ContractError, KeyError) as error:
                await self._park(connection, entry, failures.failure(error))
                return None
            tenant = await registry.lock(connection, entry.tenant_id) if entry.tenant_id else None
            if tenant is None or not await handler.begin(connection, tenant):
                await ledger.mark_handled(connection, message_id, status="superseded")
                return None
            return entry, command, tenant

    async def _begin_attempt(self, connection: Connection, message_id: UUID) -> Entry | None:
        await connection.execute(f"SET LOCAL lock_timeout = {_BEGIN_LOCK_TIMEOUT}")
        entry = await ledger.begin_attempt(connection, message_id)
        if entry is None:
            return None  # settled already, or waiting for its time: a duplicate, or a late delivery
        if await switches.paused(connection):
            await ledger.give_back_attempt(connection, message_id, delay=0)
            return None  # the relay keeps it until somebody resumes
        if entry.attempts > self._policy.attempts:
            await self._park(connection, entry, failures.crash_loop(entry.attempts - 1))
            return None
        return entry

    async def _work(self, connection: Connection, entry: Entry, command: Command) -> None:
        async with connection.transaction():
            assert entry.tenant_id is not None  # noqa: S101 - `_begin` found its tenant
            if not await connection.fetchval(TRY_TENANT_LOCK, str(entry.tenant_id)):
                raise failures.Busy
            await connection.execute(f"SET LOCAL lock_timeout = {round(self._policy.lock_timeout * 1000)}")
            still_open = await ledger.lock_open(connection, entry.id)
            tenant = await registry.get(connection, entry.tenant_id)
            if still_open is None or tenant is None:
                return
            outcome = await self._handlers[entry.type].work(connection, tenant, still_open, command)
            await ledger.mark_handled(connection, entry.id, status=outcome)
        log.info("command done", outcome=outcome, tenant=tenant.slug, attempts=entry.attempts)

    async def _own(self, error: Exception) -> bool:
        """Say whether it is the work's own, such as a file that cannot be read: PostgreSQL answers."""
        if not isinstance(error, OSError) or isinstance(error, ConnectionError | socket.gaierror):
            return False
        try:
            async with asyncio.timeout(_ANSWER), self._pool.acquire() as connection:
                await connection.execute("SELECT 1")
        except failures.AWAY:
            return False
        return True

    async def _failed(self, entry: Entry, error: Exception) -> None:
        failure = failures.failure(error)
        transient = isinstance(error, failures.TRANSIENT)
        async with self._pool.acquire() as connection, connection.transaction():
            if transient and entry.attempts < self._policy.attempts:
                delay = self._backoff(entry.attempts)
                log.warning("command failed", error_class=failure.error_class, retry_in=round(delay, 1))
                await ledger.retry(connection, entry.id, failure, delay=delay)
            else:
                log.error("command parked", error_class=failure.error_class, error=failure.error)
                await self._park(connection, entry, failure)

    async def _park(self, connection: Connection, entry: Entry, failure: Failure) -> None:
        if not await ledger.park(connection, entry.id, failure):
            return
        parked = Parked(message_id=entry.id, message_type=entry.type, error_class=failure.error_class)
        tenant = await registry.lock(connection, entry.tenant_id) if entry.tenant_id else None
        if tenant is None:
            await ledger.append(connection, [contracts.message(parked, caused_by=entry.id)])
            return
        handler = self._handlers.get(entry.type)
        if handler is not None:
            await handler.gave_up(connection, tenant, entry, failure)
        await registry.tell(connection, tenant, parked, caused_by=entry.id)

    async def _give_back(self, message_id: UUID, delay: float) -> None:
        async with self._pool.acquire() as connection:
            await ledger.give_back_attempt(connection, message_id, delay=delay)

    def _backoff(self, attempts: int) -> float:
        return failures.backoff(attempts, base=self._policy.retry_base, cap=self._policy.retry_cap)


def _parsed(message_id: str | None) -> UUID | None:
    try:
        return UUID(message_id or "")
    except ValueError:
        return None
