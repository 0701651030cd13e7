"""The inbox: statements on commands from their delivery to their end."""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec
import uuid_utils.compat as uuid7
from asyncpg import Record

from db.ledger.states import OPEN, TO_COME, MessageKind, MessageStatus
from db.session.connection import Connection
from db.session.locks import MESSAGE, WAITS_AT_MOST

_COLUMNS: Final = (
    "id, kind, type, tenant_id, tenant_version, priority, payload, raw_body, status, attempts, deliveries,"
    " available_at, error_class"
)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A ledger row, with the columns that handling it needs."""

    id: UUID
    kind: MessageKind
    type: str
    tenant_id: UUID | None
    tenant_version: int | None
    priority: int
    payload: str | None
    raw_body: bytes | None
    status: MessageStatus
    attempts: int
    deliveries: int
    available_at: datetime
    error_class: str | None

    @property
    def body(self) -> bytes:
        """The payload, or the body as it arrived if it was not a known message."""
        return self.payload.encode() if self.payload is not None else self.raw_body or b""

    @classmethod
    def of(cls, row: Record) -> "Entry":
        return cls(**{name: row[name] for name in cls.__struct_fields__})


class Failure(msgspec.Struct, frozen=True):
    """Why a message could not be handled.

    Args:
        error_class: the error's class.
        error: the error's message.
        traceback: the error's traceback.
        frame: where in this program the error was raised, as ``file:line in function``. Failures with the
            same class and frame usually have the same cause.
    """

    error_class: str
    error: str
    traceback: str | None = None
    frame: str | None = None


KEPT_FAILURES: Final = 20
"""How many failed attempts of a message are kept: the last ones."""

# $2 to $5 are the fields of a `Failure`.
_SET_FAILURE: Final = f"""
  error_class = $2, last_error = $3, traceback = $4, frame = $5,
  failures = jsonb_path_query_array(failures, '$[last - {KEPT_FAILURES - 2} to last]') || jsonb_build_object(
    'at', now(), 'replays', replays, 'attempt', attempts,
    'error_class', $2::text, 'error', $3::text, 'traceback', $4::text, 'frame', $5::text)
"""


async def hold(connection: Connection, message_id: UUID, *, wait: int) -> None:
    """Take a message's advisory lock for the session.

    Args:
        connection: not in a transaction.
        message_id: the message's id.
        wait: most milliseconds to wait; at least 1, because PostgreSQL takes 0 as no limit.

    Raises:
        asyncpg.LockNotAvailableError: another session held the lock all that time.
    """
    await connection.execute(
        f"SELECT pg_advisory_lock({MESSAGE}) WHERE {WAITS_AT_MOST}",
        str(wait),
        str(message_id),
    )


# A command that waits for its retry is not begun early, even if a copy of it is delivered.
_DELIVERABLE: Final = f"{OPEN} AND (status = 'published' OR available_at <= now())"


async def begin_attempt(connection: Connection, message_id: UUID) -> Entry | None:
    """Count an attempt at a delivered command, and mark the command published, as its delivery proves.

    Returns:
        The row, whose ``attempts`` include this one. None if the command is not to be handled now: it is
        unknown, handled, parked, archived or superseded, or it waits for its time.
    """
    row = await connection.fetchrow(
        f"""
        UPDATE shared.messages
        SET attempts = attempts + 1, status = 'published', leased_until = NULL,
            published_at = CASE WHEN status = 'published' THEN published_at ELSE now() END
        WHERE id = $1 AND {_DELIVERABLE}
        RETURNING {_COLUMNS}
        """,
        message_id,
    )
    return Entry.of(row) if row else None


async def give_back_attempt(
    connection: Connection, message_id: UUID, *, delay: float, failure: Failure | None = None
) -> None:
    """Uncount an attempt that did not begin its work, and have the command delivered again later.

    A command that is pending already, for a retry or because a copy was postponed, keeps its time.

    Args:
        connection: of the owner.
        message_id: the command's id.
        delay: seconds until the command is due again.
        failure: why, for operators. It is not kept among the failed attempts.
    """
    await connection.execute(
        f"""
        UPDATE shared.messages
        SET attempts = greatest(attempts - 1, 0), status = 'pending',
            available_at = CASE WHEN status = 'pending' THEN available_at
                                ELSE now() + make_interval(secs => $2) END,
            error_class = coalesce($3, error_class), last_error = coalesce($4, last_error),
            traceback = CASE WHEN $3 IS NULL THEN traceback END, frame = CASE WHEN $3 IS NULL THEN frame END
        WHERE id = $1 AND {OPEN}
        """,
        message_id,
        delay,
        failure and failure.error_class,
        failure and failure.error,
    )


async def note(connection: Connection, message_id: UUID, failure: Failure | None) -> None:
    """Keep with a command what its failure is if its attempt is cut short; None takes it back.

    Not in a transaction, the note outlives the attempt.
    """
    await connection.execute(
        f"UPDATE shared.messages SET error_class = $2, last_error = $3 WHERE id = $1 AND {OPEN}",
        message_id,
        failure and failure.error_class,
        failure and failure.error,
    )


async def postpone(connection: Connection, message_id: UUID, *, delay: float) -> None:
    """Have an open command delivered again after ``delay`` seconds, unless its row is locked.

    The session that holds the row's lock decides what becomes of the command. A command that waits for its
    time already keeps that time.
    """
    await connection.execute(
        f"""
        UPDATE shared.messages
        SET status = 'pending', leased_until = NULL, available_at = now() + make_interval(secs => $2)
        WHERE id IN (SELECT id FROM shared.messages WHERE id = $1 AND {_DELIVERABLE}
                     FOR NO KEY UPDATE SKIP LOCKED)
        """,
        message_id,
        delay,
    )


async def lock_open(connection: Connection, message_id: UUID, *, due: bool = False) -> Entry | None:
    """Lock an open command's row until the transaction ends. Return None if the command is not open.

    Args:
        connection: in a transaction.
        message_id: the command's id.
        due: if true, return None for a command that waits for its time, too.
    """
    row = await connection.fetchrow(
        f"""
        SELECT {_COLUMNS} FROM shared.messages
        WHERE id = $1 AND {_DELIVERABLE if due else OPEN}
        FOR NO KEY UPDATE
        """,
        message_id,
    )
    return Entry.of(row) if row else None


async def mark_handled(
    connection: Connection, message_id: UUID, *, status: Literal["handled", "superseded"] = "handled"
) -> None:
    """Mark a command handled or superseded, in the transaction of its work."""
    await connection.execute(
        f"""
        UPDATE shared.messages
        SET status = $2, handled_at = now(), leased_until = NULL, last_error = NULL, error_class = NULL,
            traceback = NULL, frame = NULL
        WHERE id = $1 AND {OPEN}
        """,
        message_id,
        status,
    )


async def retry(connection: Connection, message_id: UUID, failure: Failure, *, delay: float) -> None:
    """Return an open command to pending after a transient failure, due in ``delay`` seconds.

    The command waits in the ledger, not in the broker, so that operators can see it.
    """
    await connection.execute(
        f"""
        UPDATE shared.messages
        SET status = 'pending', available_at = now() + make_interval(secs => $6), leased_until = NULL,
            {_SET_FAILURE}
        WHERE id = $1 AND {OPEN}
        """,
        message_id,
        failure.error_class,
        failure.error,
        failure.traceback,
        failure.frame,
        delay,
    )


async def park(connection: Connection, message_id: UUID, failure: Failure) -> bool:
    """Park an open command for an operator. Return False if it is no longer open."""
    status = await connection.execute(
        f"""
        UPDATE shared.messages SET status = 'parked', leased_until = NULL, {_SET_FAILURE}
        WHERE id = $1 AND {OPEN}
        """,
        message_id,
        failure.error_class,
        failure.error,
        failure.traceback,
        failure.frame,
    )
    return str(status) == "UPDATE 1"


async def park_unknown(
    connection: Connection, body: bytes, failure: Failure, *, body_hash: bytes | None = None
) -> UUID | None:
    """Keep a body that is not a known message as a parked command of type ``unknown``.

    Return its id, or None if the same body is kept already. Of one too large to be kept whole, ``body`` is the
    start and ``body_hash`` the SHA-256 of all.
    """
    return await connection.fetchval(  # type: ignore[no-any-return]
        """
        INSERT INTO shared.messages (id, kind, type, raw_body, body_hash, status, error_class, last_error)
        VALUES ($4, 'command', 'unknown', $1, coalesce($5, sha256($1)), 'parked', $2, $3)
        ON CONFLICT (body_hash) WHERE type = 'unknown' DO NOTHING
        RETURNING id
        """,
        body,
        failure.error_class,
        failure.error,
        uuid7.uuid7(),
        body_hash,
    )


async def is_known(connection: Connection, message_id: UUID) -> bool:
    """Return True if the ledger has a command with this id."""
    sql = "SELECT EXISTS (SELECT FROM shared.messages WHERE id = $1 AND kind = 'command')"
    return bool(await connection.fetchval(sql, message_id))


async def has_open_or_replayable(connection: Connection, tenant_id: UUID, type_: str) -> bool:
    """Return True if a tenant has a command of this type that is open, parked or archived."""
    return bool(
        await connection.fetchval(
            f"SELECT EXISTS (SELECT FROM shared.messages WHERE tenant_id = $1 AND type = $2 AND {TO_COME})",
            tenant_id,
            type_,
        )
    )
