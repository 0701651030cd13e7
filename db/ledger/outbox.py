"""The outbox: statements on messages that are on their way from the ledger to the broker.

A relay leases rows, publishes them, and marks the rows that the broker confirmed. Each
statement that returns a published row to pending clears its lease.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from db.ledger.contracts import SIGN_UPS
from db.ledger.envelope import SIGN_UP, Message
from db.ledger.pause import IS_PAUSED
from db.ledger.states import PUBLISHABLE, REPLAYABLE, SWEEPABLE, WITH_BROKER, MessageKind, before, condition
from db.session.connection import Connection
from db.session.locks import WAITS_AT_MOST


class Leased(msgspec.Struct, frozen=True, kw_only=True):
    """A row leased for publishing. The row is marked only if it has not changed since it was leased."""

    id: UUID
    kind: MessageKind
    type: str
    priority: int
    payload: str | None
    deliveries: int
    leased_until: datetime
    raw_body: bytes | None = None

    @property
    def body(self) -> bytes:
        """What is sent: the payload, or the body as it arrived if it was not a known message."""
        return self.payload.encode() if self.payload is not None else self.raw_body or b""

    @property
    def signs_up(self) -> bool:
        """Whether the message goes to the exchange for sign-ups from outside."""
        return self.type in SIGN_UPS

    @property
    def is_bulk(self) -> bool:
        """Whether nobody waits for the message: it must not keep a sign-up waiting."""
        return self.priority < SIGN_UP


async def append(connection: Connection, messages: Iterable[Message]) -> None:
    """Write messages to the ledger, in the transaction of the change that they tell of."""
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
  WHERE {publishable} AND m.available_at <= now()
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

_EVENTS: Final = condition("event", before("published", "event"), table="m.")
_COMMANDS: Final = condition("command", before("published"), table="m.")
_SIGN_UPS: Final = f"{_COMMANDS} AND m.priority >= {SIGN_UP}"
_BULK: Final = f"{_COMMANDS} AND m.priority < {SIGN_UP}"
_BULK_ROOM: Final = (
    "(SELECT greatest(least(altogether - (SELECT count(*) FROM sign_ups), bulk, $1), 0) FROM room)"
)

_LEASE: Final = f"""
WITH room AS (
  SELECT CASE WHEN {IS_PAUSED} THEN 0 ELSE $3 END - count(*) FILTER (WHERE priority >= {SIGN_UP}) AS sign_ups,
         CASE WHEN {IS_PAUSED} THEN 0 ELSE $3 END - count(*) AS altogether,
         $4 - count(*) FILTER (WHERE priority < {SIGN_UP}) AS bulk
  FROM shared.messages WHERE {WITH_BROKER}
), events AS ({_DUE.format(publishable=_EVENTS, limit="$1")}
), sign_ups AS ({_DUE.format(publishable=_SIGN_UPS, limit="(SELECT greatest(least(sign_ups, $1), 0) FROM room)")}
), bulk AS ({_DUE.format(publishable=_BULK, limit=_BULK_ROOM)})
UPDATE shared.messages m
SET leased_until = now() + make_interval(secs => $2), deliveries = m.deliveries + 1
WHERE m.id = ANY (ARRAY(SELECT id FROM events UNION ALL SELECT id FROM sign_ups UNION ALL SELECT id FROM bulk))
RETURNING m.id, m.kind, m.type, m.priority, m.payload, m.deliveries,
          m.leased_until, m.raw_body
"""


async def lease(
    connection: Connection, *, limit: int, seconds: float, in_flight: int, bulk_in_flight: int | None = None
) -> list[Leased]:
    """Lease rows that are due: sign-ups before bulk work, and in order within each tenant.

    Bulk work takes no room from sign-ups: they count among themselves alone. While the provisioners are
    paused, no commands are leased.

    Args:
        connection: not in a transaction, so that the lease is committed before anything is published.
        limit: most events, most commands of sign-ups and most commands of bulk work.
        seconds: time until another relay may lease the rows.
        in_flight: most commands of sign-ups that may be published and not yet handled, these included; most
            commands at all, for bulk work.
        bulk_in_flight: most commands of bulk work among them; ``in_flight`` by default.
    """
    bulk = in_flight if bulk_in_flight is None else bulk_in_flight
    rows = await connection.fetch(_LEASE, limit, seconds, in_flight, bulk)
    leased = [Leased(**dict(row)) for row in rows]
    return sorted(leased, key=lambda row: (-row.priority, row.id))


_MARK_LOCK_TIMEOUT: Final = 200
"""Milliseconds that a mark waits for row locks. Another relay's `lease` locks rows for less."""

_MARK: Final = f"""
UPDATE shared.messages m SET status = 'published', published_at = now(), leased_until = NULL,
  last_error = CASE WHEN kind = 'event' THEN NULL ELSE last_error END
FROM unnest($2::uuid[], $3::int[], $4::timestamptz[]) AS c (id, deliveries, leased_until)
WHERE {WAITS_AT_MOST}
  AND m.id = c.id AND {PUBLISHABLE} AND m.deliveries = c.deliveries AND m.leased_until = c.leased_until
"""
_FREE: Final = """
  AND m.id IN (SELECT id FROM shared.messages WHERE id = ANY($2) FOR NO KEY UPDATE SKIP LOCKED)
"""


async def mark_published(connection: Connection, leased: Iterable[Leased]) -> None:
    """Mark rows published that the broker confirmed, if they have not changed since.

    A row that stays locked is passed over: an attempt at its command has begun, and has marked the row.
    To wait for the row would hold up all messages for as long as a migration takes.

    Args:
        connection: not in a transaction.
        leased: the confirmed rows, as `lease` returned them.
    """
    leased = list(leased)
    rows = (
        [row.id for row in leased],
        [row.deliveries for row in leased],
        [row.leased_until for row in leased],
    )
    try:
        await connection.execute(_MARK, str(_MARK_LOCK_TIMEOUT), *rows)
    except asyncpg.LockNotAvailableError:
        await connection.execute(_MARK + _FREE, "0", *rows)  # SKIP LOCKED does not wait


async def mark_unpublished(connection: Connection, leased: Leased, *, error: str, delay: float) -> None:
    """Postpone a row that did not reach the broker, or may not have.

    Only the lease is extended, so a delivery that did happen can still be handled. A row that stays locked
    is left as it is: its message did reach the broker, and an attempt has begun.

    Args:
        connection: not in a transaction.
        leased: the row, as `lease` returned it.
        error: why the message was not published.
        delay: seconds until the row may be leased again.
    """
    with suppress(asyncpg.LockNotAvailableError):
        await connection.execute(
            f"""
            UPDATE shared.messages m
            SET leased_until = now() + make_interval(secs => $6), last_error = $5
            WHERE {WAITS_AT_MOST}
              AND id = $2 AND {PUBLISHABLE} AND deliveries = $3 AND leased_until = $4
            """,
            str(_MARK_LOCK_TIMEOUT),
            leased.id,
            leased.deliveries,
            leased.leased_until,
            error,
            delay,
        )


async def next_due(connection: Connection, *, looked: float) -> float | None:
    """Return the seconds until the next pending row is due, or None if there is no such row.

    Rows that were due before the last look do not count. They wait for something else, whose end usually
    sends a notification; polling finds the rest.

    Args:
        connection: of the owner.
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
    """Return commands to pending that were published long ago and that the broker may have lost.

    Locked rows are passed over, because an attempt at them is running.

    Args:
        connection: of the owner.
        older_than: seconds since a command was published.
        held: the number of messages ready in the queue and held by consumers. If it is not less than the
            number of published commands, the broker has lost nothing, and no command is returned.

    Returns:
        The number of commands returned to pending.
    """
    status = await connection.execute(
        f"""
        UPDATE shared.messages SET status = 'pending', available_at = now(), leased_until = NULL
        WHERE id IN (
          SELECT id FROM shared.messages
          WHERE {WITH_BROKER}
            AND published_at < now() - make_interval(secs => $1)
            AND (SELECT count(*) FROM shared.messages WHERE {WITH_BROKER}) > $2
          FOR NO KEY UPDATE SKIP LOCKED)
        """,
        older_than,
        held,
    )
    return int(status.split()[-1])


async def send_again(connection: Connection, message_ids: Sequence[UUID]) -> None:
    """Return messages that can be replayed to pending, with no attempts counted, and count the replay."""
    await connection.execute(
        f"""
        UPDATE shared.messages m
        SET status = 'pending', attempts = 0, replays = replays + 1, available_at = now(),
            leased_until = NULL, published_at = NULL, handled_at = NULL
        WHERE id = ANY($1) AND {REPLAYABLE}
        """,
        message_ids,
    )


async def sweep(connection: Connection, *, days: int, limit: int = 1000) -> int:
    """Delete a batch of finished commands and published events that are older than the retention time.

    Args:
        connection: of the owner.
        days: the retention time, in days.
        limit: most messages to delete.

    Returns:
        The number of messages deleted.
    """
    status = await connection.execute(
        f"""
        DELETE FROM shared.messages WHERE id IN (
          SELECT id FROM shared.messages m
          WHERE coalesce(handled_at, published_at) < now() - make_interval(days => $1) AND {SWEEPABLE}
          LIMIT $2 FOR UPDATE SKIP LOCKED)
        """,
        days,
        limit,
    )
    return int(status.split()[-1])
