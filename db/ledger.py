"""The ledger: the table of all messages, outbox and inbox in one.

Commands go ``pending -> published -> handled``, back to ``pending`` with a later ``available_at`` for a
retry, or to ``parked``, ``archived``, ``superseded``. Events go ``pending -> published``. A delivery may
overtake the mark, so ``pending -> handled`` is legal. Whatever returns a row to pending clears its lease.
"""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import asyncpg
import msgspec
import uuid_utils.compat as uuid7
from asyncpg import Record

from db.connection import Connection
from db.contracts import Message, Signup
from db.switches import IS_PAUSED

CHANNEL: Final = "tenantry_ledger"
"""NOTIFY channel, with an empty payload, of new or returned pending rows."""

UNKNOWN: Final = "unknown"
"""The type of what arrived and was no message of ours."""
SIGN_UPS: Final = frozenset({UNKNOWN, Signup.type})
"""Types of commands that the sign-up intake handles; what was unknown may turn out to be one."""

_COLUMNS: Final = (
    "id, kind, type, tenant_id, tenant_version, priority, payload, status, attempts, deliveries, available_at"
)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A ledger row, as whoever handles it needs it."""

    id: UUID
    kind: Literal["command", "event"]
    type: str
    tenant_id: UUID | None
    tenant_version: int | None
    priority: int
    payload: str | None
    status: str
    attempts: int
    deliveries: int
    available_at: datetime

    @classmethod
    def of(cls, row: Record) -> "Entry":
        return cls(**{name: row[name] for name in cls.__struct_fields__})


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A row leased for publishing. It is marked only where it is still as it was claimed."""

    id: UUID
    kind: Literal["command", "event"]
    type: str
    priority: int
    payload: str | None
    deliveries: int
    leased_until: datetime
    raw_body: bytes | None = None

    @property
    def body(self) -> bytes:
        """What is sent: the payload, or what once arrived and was no message of ours."""
        return self.payload.encode() if self.payload is not None else self.raw_body or b""

    @property
    def signs_up(self) -> bool:
        """Whether it goes where sign-ups from outside arrive."""
        return self.type in SIGN_UPS


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


async def append(connection: Connection, messages: Iterable[Message]) -> None:
    """Write messages in the transaction of the change that they tell of."""
    await connection.executemany(
        """
        INSERT INTO shared.messages
          (id, kind, type, tenant_id, tenant_version, priority, payload, caused_by, created_at, source, source_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, $8, $9, $10, $11)
        """,
        [
            (
                message.id,
                message.data.kind,
                message.data.type,
                message.tenant_id,
                message.tenant_version,
                message.priority,
                message.payload.decode(),
                message.caused_by,
                message.created_at,
                message.source,
                message.source_id,
            )
            for message in messages
        ],
    )


# A row waits while an older one of its tenant is unpublished (event) or unhandled (command).
_DUE: Final = """
  SELECT m.id FROM shared.messages m
  WHERE m.kind = '{kind}' AND m.status = 'pending' AND m.available_at <= now()
    AND (m.leased_until IS NULL OR m.leased_until <= now())
    AND NOT EXISTS (
      SELECT FROM shared.messages o
      WHERE o.tenant_id = m.tenant_id AND o.tenant_version < m.tenant_version
        AND (o.status = 'pending' OR (o.status = 'published' AND o.kind = 'command'))
    )
  ORDER BY m.priority DESC, m.id
  LIMIT {limit}
  FOR UPDATE OF m SKIP LOCKED
"""

_CLAIM: Final = f"""
WITH room AS (
  SELECT CASE WHEN {IS_PAUSED} THEN 0 ELSE greatest($3 - count(*), 0) END AS commands
  FROM shared.messages WHERE kind = 'command' AND status = 'published'
), events AS ({_DUE.format(kind="event", limit="$1")}
), commands AS ({_DUE.format(kind="command", limit="(SELECT least(commands, $1) FROM room)")})
UPDATE shared.messages m
SET leased_until = now() + make_interval(secs => $2), deliveries = m.deliveries + 1
WHERE m.id = ANY (ARRAY(SELECT id FROM events UNION ALL SELECT id FROM commands))
RETURNING m.id, m.kind, m.type, m.priority, m.payload, m.deliveries,
          m.leased_until, m.raw_body
"""


async def claim(connection: Connection, *, limit: int, lease: float, in_flight: int) -> list[Claim]:
    """Lease the rows that are due, sign-ups before bulk work, in order within each tenant.

    No commands while the provisioners are paused.

    Args:
        connection: outside a transaction: the claim is committed before anything is published.
        limit: rows of each kind at most.
        lease: seconds until another relay may claim them.
        in_flight: commands that may be published and not yet handled, these included.
    """
    rows = await connection.fetch(_CLAIM, limit, lease, in_flight)
    claims = [Claim(**dict(row)) for row in rows]
    return sorted(claims, key=lambda claim: (-claim.priority, claim.id))


_MARK_LOCK_TIMEOUT: Final = 200
"""Milliseconds that a mark waits for rows; another relay that looked at them is gone sooner."""

# A condition that holds, and bounds the waiting for rows: evaluated before the first one (InitPlan), for a
# transaction around the statement would cost three round trips. $1: milliseconds, as text.
_BOUNDED: Final = "(SELECT set_config('lock_timeout', $1, true)) IS NOT NULL"
_MARK: Final = f"""
UPDATE shared.messages m SET status = 'published', published_at = now(), leased_until = NULL,
  last_error = CASE WHEN kind = 'event' THEN NULL ELSE last_error END
FROM unnest($2::uuid[], $3::int[], $4::timestamptz[]) AS c (id, deliveries, leased_until)
WHERE {_BOUNDED}
  AND m.id = c.id AND m.status = 'pending' AND m.deliveries = c.deliveries AND m.leased_until = c.leased_until
"""
_FREE: Final = """
  AND m.id IN (SELECT id FROM shared.messages WHERE id = ANY($2) FOR NO KEY UPDATE SKIP LOCKED)
"""


async def mark_published(connection: Connection, claims: Iterable[Claim]) -> None:
    """Mark claims that the broker confirmed, where nothing has happened to the row since.

    A row that stays locked has overtaken its mark, and is being worked on: waiting for it would hold up
    everybody's messages for as long as a migration takes. The attempt that began has marked it.

    Args:
        connection: outside a transaction.
        claims: as they were claimed.
    """
    claims = list(claims)
    rows = (
        [claim.id for claim in claims],
        [claim.deliveries for claim in claims],
        [claim.leased_until for claim in claims],
    )
    try:
        await connection.execute(_MARK, str(_MARK_LOCK_TIMEOUT), *rows)
    except asyncpg.LockNotAvailableError:
        await connection.execute(_MARK + _FREE, "0", *rows)  # there is nothing to wait for


async def mark_unpublished(connection: Connection, claimed: Claim, *, error: str, delay: float) -> None:
    """Put off a claim that did not reach the broker, or may not have, for ``delay`` seconds.

    Its lease is what is put off: a delivery of it is still welcome. A row that stays locked did reach the
    broker, and is being worked on.

    Args:
        connection: outside a transaction.
        claimed: as it was claimed.
        error: why it did not.
        delay: seconds until it may be claimed again.
    """
    with suppress(asyncpg.LockNotAvailableError):
        await connection.execute(
            f"""
            UPDATE shared.messages
            SET leased_until = now() + make_interval(secs => $6), last_error = $5
            WHERE {_BOUNDED}
              AND id = $2 AND status = 'pending' AND deliveries = $3 AND leased_until = $4
            """,
            str(_MARK_LOCK_TIMEOUT),
            claimed.id,
            claimed.deliveries,
            claimed.leased_until,
            error,
            delay,
        )


async def next_due(connection: Connection, *, looked: float) -> float | None:
    """Return the seconds until a pending row's time comes, None where no such row is known.

    A row whose time had come before the last look is none: what it still waits for notifies of its end as
    a rule, and polling finds the rest.

    Args:
        connection: the owner's.
        looked: seconds since the last look began.
    """
    value = await connection.fetchval(
        """
        SELECT extract(epoch FROM min(due) - now())
        FROM (SELECT greatest(available_at, leased_until) AS due FROM shared.messages
              WHERE status = 'pending') AS pending
        WHERE due > now() - make_interval(secs => $1)
        """,
        looked,
    )
    return None if value is None else max(float(value), 0)


async def republish(connection: Connection, *, older_than: float, held: int) -> int:
    """Return commands to pending that were published long ago and that nobody can still be holding.

    A row that is locked is being worked on.

    Args:
        connection: of the provisioner.
        older_than: seconds since they were published.
        held: messages ready in the queue and in consumers' hands; while they are as many as are in
            flight, the broker has lost nothing.

    Returns:
        How many were returned.
    """
    status = await connection.execute(
        """
        UPDATE shared.messages SET status = 'pending', available_at = now(), leased_until = NULL
        WHERE id IN (
          SELECT id FROM shared.messages
          WHERE kind = 'command' AND status = 'published'
            AND published_at < now() - make_interval(secs => $1)
            AND (SELECT count(*) FROM shared.messages WHERE kind = 'command' AND status = 'published') > $2
          FOR NO KEY UPDATE SKIP LOCKED)
        """,
        older_than,
        held,
    )
    return int(status.split()[-1])


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
        f"SELECT pg_advisory_lock(hashtextextended($2, 1)) WHERE {_BOUNDED}",
        str(wait),
        str(message_id),
    )


_OPEN: Final = "kind = 'command' AND status IN ('pending', 'published')"
# A retry waits for its time, whatever else is delivered of the command meanwhile.
_DELIVERABLE: Final = f"{_OPEN} AND (status = 'published' OR available_at <= now())"


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
        """
        UPDATE shared.messages
        SET attempts = greatest(attempts - 1, 0), status = 'pending',
            available_at = CASE WHEN status = 'pending' THEN available_at
                                ELSE now() + make_interval(secs => $2) END
        WHERE id = $1 AND status IN ('pending', 'published')
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
        WHERE id = $1 AND {_DELIVERABLE if due else _OPEN}
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
        WHERE id = $1 AND status IN ('pending', 'published')
        """,
        message_id,
        failure.error_class,
        failure.error,
        failure.traceback,
        failure.frame,
        delay,
    )


async def park(connection: Connection, message_id: UUID, failure: Failure) -> bool:
    """Park a command for an operator; false where it was no longer open."""
    status = await connection.execute(
        f"""
        UPDATE shared.messages SET status = 'parked', leased_until = NULL, {_SET_FAILURE}
        WHERE id = $1 AND status IN ('pending', 'published')
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


async def sweep(connection: Connection, *, days: int, limit: int = 1000) -> int:
    """Delete handled commands and published events older than the retention time, a batch at a time."""
    status = await connection.execute(
        """
        DELETE FROM shared.messages WHERE id IN (
          SELECT id FROM shared.messages
          WHERE coalesce(handled_at, published_at) < now() - make_interval(days => $1)
            AND ((kind = 'command' AND status IN ('handled', 'superseded'))
              OR (kind = 'event' AND status = 'published'))
          LIMIT $2 FOR UPDATE SKIP LOCKED)
        """,
        days,
        limit,
    )
    return int(status.split()[-1])
