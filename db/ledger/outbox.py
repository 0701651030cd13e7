"""The outbox: messages on their way from the ledger to the broker.

A claim leases rows; they are published; what was confirmed is marked. Whatever returns a row to pending
clears its lease.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from db.ledger.contracts import SIGN_UPS
from db.ledger.envelope import Message
from db.ledger.pause import IS_PAUSED
from db.ledger.states import MessageKind
from db.session.connection import Connection
from db.session.locks import WAITS_AT_MOST


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A row leased for publishing. It is marked only where it is still as it was claimed."""

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
        """What is sent: the payload, or what once arrived and was no message of ours."""
        return self.payload.encode() if self.payload is not None else self.raw_body or b""

    @property
    def signs_up(self) -> bool:
        """Whether it goes where sign-ups from outside arrive."""
        return self.type in SIGN_UPS


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

_MARK: Final = f"""
UPDATE shared.messages m SET status = 'published', published_at = now(), leased_until = NULL,
  last_error = CASE WHEN kind = 'event' THEN NULL ELSE last_error END
FROM unnest($2::uuid[], $3::int[], $4::timestamptz[]) AS c (id, deliveries, leased_until)
WHERE {WAITS_AT_MOST}
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
            WHERE {WAITS_AT_MOST}
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


async def send_again(connection: Connection, message_ids: Sequence[UUID]) -> None:
    """Return messages that have come to an end to pending, with all of their attempts anew."""
    await connection.execute(
        """
        UPDATE shared.messages
        SET status = 'pending', attempts = 0, replays = replays + 1, available_at = now(),
            leased_until = NULL, published_at = NULL, handled_at = NULL
        WHERE id = ANY($1)
        """,
        message_ids,
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
