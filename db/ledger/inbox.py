"""The inbox: commands from their delivery to their end, an attempt at a time."""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec
import uuid_utils.compat as uuid7
from asyncpg import Record

from db.ledger.states import IN_FLIGHT, OPEN, MessageKind, MessageStatus, condition, may_become
from db.session.connection import Connection
from db.session.locks import MESSAGE, WAITS_AT_MOST

_COLUMNS: Final = (
    "id, kind, type, tenant_id, tenant_version, priority, payload, raw_body, status, attempts, deliveries,"
    " available_at"
)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A ledger row, as whoever handles it needs it."""

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

    @property
    def body(self) -> bytes:
        """What it was written from: the payload, or what once arrived and was unknown."""
        return self.payload.encode() if self.payload is not None else self.raw_body or b""

    @classmethod
    def of(cls, row: Record) -> "Entry":
        return cls(**{name: row[name] for name in cls.__struct_fields__})


class Failure(msgspec.Struct, frozen=True):
    """Why a message could not be handled.

    Args:
        error_class: the error's class.
        error: its words.
        traceback: its traceback.
        frame: where in this program it came up, as ``file:line in function``; failures that share class
            and frame have one cause as a rule.
    """

    error_class: str
    error: str
    traceback: str | None = None
    frame: str | None = None


KEPT_FAILURES: Final = 20
"""Failed attempts that are kept of a message: the last ones."""

# Of the parameters $2 to $5, a failure's.
_SET_FAILURE: Final = f"""
  error_class = $2, last_error = $3, traceback = $4, frame = $5,
  failures = jsonb_path_query_array(failures, '$[last - {KEPT_FAILURES - 2} to last]') || jsonb_build_object(
    'at', now(), 'replays', replays, 'attempt', attempts,
    'error_class', $2::text, 'error', $3::text, 'traceback', $4::text, 'frame', $5::text)
"""


async def hold(connection: Connection, message_id: UUID, *, wait: int) -> None:
    """Take a message's advisory lock for the session.

    Args:
        connection: outside a transaction.
        message_id: the message's.
        wait: milliseconds at most; at least one.

    Raises:
        asyncpg.LockNotAvailableError: another session has had it all the time.
    """
    await connection.execute(
        f"SELECT pg_advisory_lock({MESSAGE}) WHERE {WAITS_AT_MOST}",
        str(wait),
        str(message_id),
    )


# A retry waits for its time, whatever else is delivered of the command meanwhile.
_DELIVERABLE: Final = f"{OPEN} AND (status = 'published' OR available_at <= now())"


async def begin_attempt(connection: Connection, message_id: UUID) -> Entry | None:
    """Count an attempt at a command. That it was delivered proves that it was published.

    Returns:
        The row, its ``attempts`` including this one. None where nothing is to be done: unknown,
        handled, parked, archived or superseded, or waiting for its time.
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


async def give_back_attempt(connection: Connection, message_id: UUID, *, delay: float) -> None:
    """Take an attempt back that did not get to work, and have the command delivered again later.

    One that is pending already, for a retry or since a copy was put off, keeps its time.
    """
    await connection.execute(
        f"""
        UPDATE shared.messages
        SET attempts = greatest(attempts - 1, 0), status = 'pending',
            available_at = CASE WHEN status = 'pending' THEN available_at
                                ELSE now() + make_interval(secs => $2) END
        WHERE id = $1 AND {OPEN}
        """,
        message_id,
        delay,
    )


async def postpone(connection: Connection, message_id: UUID, *, delay: float) -> None:
    """Have an open command delivered again later, unless somebody holds its row, and so decides its fate.

    One that waits for its time already goes on waiting.
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
    """Lock a command that is still to be handled, for the transaction; None where it no longer is.

    Args:
        connection: within the transaction.
        message_id: the command's.
        due: whether one that waits for its time counts as none.
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
    """Mark a command done, in the transaction of its work."""
    await connection.execute(
        """
        UPDATE shared.messages
        SET status = $2, handled_at = now(), leased_until = NULL, last_error = NULL, error_class = NULL,
            traceback = NULL, frame = NULL
        WHERE id = $1
        """,
        message_id,
        status,
    )


async def retry(connection: Connection, message_id: UUID, failure: Failure, *, delay: float) -> None:
    """Return a command to pending after a transient failure; it waits here, where it can be seen."""
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


_MAY_BE_PARKED: Final = may_become("parked")


async def park(connection: Connection, message_id: UUID, failure: Failure) -> bool:
    """Park a command for an operator; false where it was no longer open."""
    status = await connection.execute(
        f"""
        UPDATE shared.messages SET status = 'parked', leased_until = NULL, {_SET_FAILURE}
        WHERE id = $1 AND {_MAY_BE_PARKED}
        """,
        message_id,
        failure.error_class,
        failure.error,
        failure.traceback,
        failure.frame,
    )
    return str(status) == "UPDATE 1"


async def park_unknown(connection: Connection, body: bytes, failure: Failure) -> UUID | None:
    """Keep a body that is no known message as a parked command of type ``unknown``, once.

    Returns:
        Its id; None where the same body is kept already.
    """
    return await connection.fetchval(  # type: ignore[no-any-return]
        """
        INSERT INTO shared.messages (id, kind, type, raw_body, body_hash, status, error_class, last_error)
        VALUES ($4, 'command', 'unknown', $1, sha256($1), 'parked', $2, $3)
        ON CONFLICT (body_hash) WHERE type = 'unknown' DO NOTHING
        RETURNING id
        """,
        body,
        failure.error_class,
        failure.error,
        uuid7.uuid7(),
    )


async def is_known(connection: Connection, message_id: UUID) -> bool:
    """Say whether the ledger has a command of this id."""
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT FROM shared.messages WHERE id = $1 AND kind = 'command')", message_id
        )
    )


async def has_open_or_replayable(connection: Connection, tenant_id: UUID, type_: str) -> bool:
    """Say whether a tenant has a command of this type that will be handled, or that an operator can replay."""
    return bool(
        await connection.fetchval(
            f"SELECT EXISTS (SELECT FROM shared.messages WHERE tenant_id = $1 AND type = $2 AND {_TO_COME})",
            tenant_id,
            type_,
        )
    )


_TO_COME: Final = condition("command", IN_FLIGHT | {"parked", "archived"})
