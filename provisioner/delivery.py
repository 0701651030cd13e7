"""Deliveries: handles the messages that a transport hands over, until they can be acknowledged.

If the ledger knows the message, an attempt is made at its command; a dead letter goes back to pending; an
unknown message is parked for an operator. A message's advisory lock is held from before the attempt's first
transaction until after its last. It keeps out other deliveries of the message, in all provisioners.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from uuid import UUID

import asyncpg
import structlog
from asyncpg import Pool

from db.ledger import envelope, inbox, intake, outbox
from db.ledger.contracts import UNKNOWN, ContractError, Parked
from db.ledger.inbox import Failure
from db.migrations.lineage import Lineage
from db.session.connection import Connection
from provisioner import failures
from provisioner.attempt import LOCK_TIMEOUT, Attempts, Policy
from provisioner.frames import TooLarge
from provisioner.handlers.handler import Handlers
from provisioner.transport import DatabaseAwayError

log = structlog.get_logger(__name__)

TOO_LARGE = "too_large"
"""The error class of a message whose body is above the limit."""
_NO_ROOM_DELAY = 1.0
"""Seconds until a command is delivered again for which there was no room."""
_COPY_DELAY = 15.0
"""Seconds until a command is delivered again that another delivery has in hand."""
_PROBE_INTERVAL = 0.5
"""Seconds between two checks whether PostgreSQL is back."""


class Deliveries:
    """Handles deliveries. Implements a transport's `Consumer`.

    Args:
        pool: the owner's connections.
        handlers: handlers by command type.
        policy: how commands are tried again.
        shared: the shared lineage that this release knows; None if it need not be looked at.
    """

    def __init__(self, pool: Pool, handlers: Handlers, policy: Policy, shared: Lineage | None = None) -> None:
        self._pool = pool
        self._attempts = Attempts(pool, handlers, policy, shared)

    async def command(self, message_id: str | None, body: bytes) -> None:
        """Handle a delivery of a command. A message that the ledger does not know is parked as ``unknown``, once.

        Raises:
            DatabaseAwayError: nothing was decided; the message must be delivered again.
        """
        await self._handle(message_id, body, self._known, self._attempts.make)

    async def postpone(self, message_id: str | None, body: bytes) -> None:
        """Give a command back without an attempt. A message that the ledger does not know is parked, once.

        Raises:
            DatabaseAwayError: nothing was decided; the message must be delivered again.
        """
        await self._handle(message_id, body, self._known, _postpone)

    async def signup(self, message_id: str | None, body: bytes) -> None:
        """Handle a delivery of a sign-up from outside. A message that is no sign-up is parked as ``unknown``, once.

        Raises:
            DatabaseAwayError: nothing was decided; the message must be delivered again.
        """
        await self._handle(message_id, body, self._admitted, self._attempts.make)

    async def dead(self, message_id: str | None, body: bytes) -> None:
        """Handle a dead letter. A message that the ledger does not know is parked as ``unknown``, once.

        Raises:
            DatabaseAwayError: nothing was decided; the message must be delivered again.
        """
        await self._handle(message_id, body, self._known, self._attempts.bury)

    async def too_large(self, message_id: str | None, first: bytes, message: TooLarge) -> None:
        """Park a message whose body is above the limit as ``unknown``, once, with the body's first bytes.

        Raises:
            DatabaseAwayError: nothing was decided; the message must be delivered again.
        """
        words = f"{message.size} bytes are above MESSAGE_LIMIT; only the first {len(first)} are kept"
        failure = Failure(TOO_LARGE, f"{words}; sha256 of all: {message.sha256}")
        with _away():
            await self._park_unknown(message_id, first, failure, body_hash=bytes.fromhex(message.sha256))

    async def database_back(self) -> None:
        """Wait until PostgreSQL answers, then give back the attempts that its absence cut short."""
        while True:
            try:
                async with self._pool.acquire() as connection:
                    await connection.execute("SELECT 1")
                    await self._attempts.take_back(connection)
            except failures.NOT_NOW:
                await asyncio.sleep(_PROBE_INTERVAL)
            else:
                return

    async def _handle(self, message_id: str | None, body: bytes, find: "_Find", act: "_Act") -> None:
        """Find a message's ledger row and act on it, alone.

        Whatever else is raised is kept with the row, which is parked, or with the body, which is parked as
        ``unknown``: the message itself can be acknowledged.

        Raises:
            DatabaseAwayError: nothing was decided; the message must be delivered again.
        """
        with _away():
            try:
                known = await find(message_id, body)
            except Exception as error:
                if failures.is_passing(error):
                    raise
                log.exception("message not taken in", message_id=message_id)
                await self._park_unknown(message_id, body, failures.failure(error))
                return
            if known is None:
                return
            async with self._alone(known) as connection:
                if connection is None:
                    return
                try:
                    await act(connection, known)
                except Exception as error:
                    if failures.is_passing(error):
                        raise
                    log.exception("command not handled", message_id=message_id)
                    await self._attempts.give_up(connection, known, error)

    async def _known(self, message_id: str | None, body: bytes) -> UUID | None:
        """Return the id of the message's ledger row, or park the message and return None."""
        parsed = _parsed(message_id)
        if parsed is not None:
            async with self._pool.acquire() as connection:
                if await inbox.is_known(connection, parsed):
                    return parsed
        await self._park_unknown(
            message_id, body, Failure(UNKNOWN, f"no command {message_id!r} in the ledger")
        )
        return None

    async def _admitted(self, message_id: str | None, body: bytes) -> UUID | None:
        """Return the id of a sign-up's ledger row, new or existing, or None if nobody has to work on it.

        A message that is not a sign-up is parked.
        """
        parsed = _parsed(message_id)
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                if parsed is not None and await intake.is_sent_again(connection, parsed):
                    return parsed
                return await intake.admit(connection, envelope.signup(body))
        except ContractError as error:
            await self._park_unknown(message_id, body, failures.failure(error))
            return None

    async def _park_unknown(
        self, message_id: str | None, body: bytes, failure: Failure, *, body_hash: bytes | None = None
    ) -> None:
        log.warning("unknown message parked", message_id=message_id, size=len(body))
        async with self._pool.acquire() as connection, connection.transaction():
            parked = await inbox.park_unknown(connection, body, failure, body_hash=body_hash)
            if parked is not None:
                event = Parked(message_id=parked, message_type=UNKNOWN, error_class=failure.error_class)
                await outbox.append(connection, [envelope.message(event, caused_by=parked)])

    @asynccontextmanager
    async def _alone(self, message_id: UUID) -> AsyncIterator["Connection | None"]:
        """Yield a connection that holds the message's lock, or None if another delivery of it is in hand.

        Two deliveries at once would count two attempts if the process died. The other delivery decides the
        outcome; this one is postponed, since the other's machine may be gone. If the other delivery has the
        row locked, the row cannot be postponed, and the ledger publishes the command again later.
        """
        async with self._pool.acquire() as connection:  # releases all its locks when it goes back to the pool
            try:
                await inbox.hold(connection, message_id, wait=LOCK_TIMEOUT)
            except asyncpg.LockNotAvailableError:
                await inbox.postpone(connection, message_id, delay=_COPY_DELAY)
                yield None
                return
            try:
                yield connection
            except asyncpg.LockNotAvailableError:  # the message's or the tenant's row is locked
                await inbox.postpone(connection, message_id, delay=failures.BUSY_DELAY)


_Find = Callable[[str | None, bytes], Awaitable[UUID | None]]
_Act = Callable[[Connection, UUID], Awaitable[None]]


async def _postpone(connection: Connection, message_id: UUID) -> None:
    async with connection.transaction():
        # Waits for the relay that is just marking the row; `postpone` would pass it over.
        await connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT}")
        await inbox.lock_open(connection, message_id)
        await inbox.postpone(connection, message_id, delay=_NO_ROOM_DELAY)


@contextmanager
def _away() -> Iterator[None]:
    """Turn an error of PostgreSQL that passes by itself (one of `failures.NOT_NOW`) into `DatabaseAwayError`.

    Raises:
        DatabaseAwayError: PostgreSQL is away, full or blocked by a lock; nothing was decided.
    """
    try:
        yield
    except failures.NOT_NOW as error:
        if not failures.is_passing(error):
            raise
        raise DatabaseAwayError from error


def _parsed(message_id: str | None) -> UUID | None:
    try:
        return UUID(message_id or "")
    except ValueError:
        return None
