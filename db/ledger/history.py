"""The history of one message: all that is kept of it, with its causes, effects and audit entries."""

from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from db import audit
from db.audit import AuditEntry
from db.ledger.lists import FROM, ITEM, MessageItem
from db.session.connection import Connection


class HistoryEntry(msgspec.Struct, frozen=True):
    """An entry in the history of a message.

    Args:
        at: when the message was written, or the audit entry.
        what: ``cause`` (a message that led to this one), ``self``, ``effect`` (a message that followed from
            this one) or ``audit`` (an act of an operator).
        name: the message's type, or the audit entry's action.
        id: the message's id; None for an audit entry.
        status: the message's status, or the audit entry's outcome.
        actor: who acted; None for a message.
        reason: the actor's reason, if there is one.
    """

    at: datetime
    what: Literal["cause", "self", "effect", "audit"]
    name: str
    id: UUID | None
    status: str
    actor: str | None
    reason: str | None


class Failed(msgspec.Struct, frozen=True):
    """A failed attempt.

    Args:
        at: when the attempt failed.
        replays: how often the message had been replayed by then.
        attempt: the number of the attempt since the last replay.
        error_class: the error's class.
        error: the error's message.
        traceback: the error's traceback.
        frame: where the error was raised, as ``file:line in function``.
    """

    at: datetime
    replays: int
    attempt: int
    error_class: str
    error: str
    traceback: str | None
    frame: str | None


class MessageDetail(MessageItem, frozen=True, kw_only=True):
    """A message with all that is kept of it.

    Args:
        payload: the CloudEvent.
        raw_body: the body as it arrived, if it was not a known message.
        traceback: the last failure's traceback.
        failures: the last 20 failed attempts, oldest first.
        timeline: the message's causes, effects and audit entries, oldest first.
    """

    tenant_id: UUID | None
    tenant_version: int | None
    priority: int
    leased_until: datetime | None
    source: str | None
    source_id: str | None
    payload: Any
    raw_body: str | None
    traceback: str | None
    failures: list[Failed]
    timeline: list[HistoryEntry]


_MORE: Final = ", ".join(
    f"m.{name}"
    for name in MessageDetail.__struct_fields__
    if name not in {*MessageItem.__struct_fields__, "timeline"}
)


async def get(connection: Connection, message_id: UUID) -> MessageDetail | None:
    """Return the message with this id and its history, or None if there is no such message."""
    row = await connection.fetchrow(f"SELECT {ITEM}, {_MORE} FROM {FROM} WHERE m.id = $1", message_id)
    if row is None:
        return None
    values = {**dict(row), "failures": msgspec.json.decode(row["failures"], type=list[Failed])}
    if row["payload"] is not None:
        values["payload"] = msgspec.json.decode(row["payload"])
    if row["raw_body"] is not None:
        values["raw_body"] = row["raw_body"].decode(errors="replace")
    return MessageDetail(**values, timeline=await _timeline(connection, message_id, row["caused_by"]))


_LONGEST: Final = 200
_CHAIN: Final = """
WITH RECURSIVE causes AS (
  SELECT m.id, m.caused_by, 0 AS depth FROM shared.messages m WHERE m.id = $1
  UNION ALL
  SELECT m.id, m.caused_by, c.depth + 1 FROM causes c JOIN shared.messages m ON m.id = c.caused_by
  WHERE c.depth < 50
), effects AS (
  SELECT m.id, 1 AS depth FROM shared.messages m WHERE m.caused_by = $1
  UNION ALL
  SELECT m.id, e.depth + 1 FROM effects e JOIN shared.messages m ON m.caused_by = e.id
  WHERE e.depth < 50
), chain AS (
  SELECT id, CASE WHEN depth = 0 THEN 'self' ELSE 'cause' END AS what FROM causes
  UNION ALL SELECT id, 'effect' FROM effects
)
SELECT m.created_at AS at, c.what, m.type AS name, m.id, m.status, NULL AS actor, NULL AS reason
FROM chain c JOIN shared.messages m ON m.id = c.id
ORDER BY at DESC, id DESC LIMIT $2
"""


async def _timeline(connection: Connection, message_id: UUID, caused_by: UUID | None) -> list[HistoryEntry]:
    chain = await connection.fetch(_CHAIN, message_id, _LONGEST)
    acts = await audit.list_of_message(connection, message_id, caused_by=caused_by, limit=_LONGEST)
    found = [HistoryEntry(**dict(row)) for row in reversed(chain)] + [_audited(act) for act in reversed(acts)]
    return sorted(found, key=lambda entry: entry.at)[-_LONGEST:]


def _audited(act: AuditEntry) -> HistoryEntry:
    return HistoryEntry(
        at=act.at,
        what="audit",
        name=act.action,
        id=None,
        status=act.outcome,
        actor=act.actor,
        reason=act.detail.get("reason"),
    )
