"""Messages, as operators see them: filtered lists, groups of failures, and one with all that belongs to it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal, get_args
from uuid import UUID

import msgspec
from asyncpg import Record
from msgspec import Meta

from db.connection import Connection

Status = Literal["pending", "published", "handled", "parked", "archived", "superseded"]
Kind = Literal["command", "event"]
Text = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


class Filter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which messages are meant; what is left out does not narrow them down.

    Args:
        status: the ledger's.
        kind: commands or events.
        type: such as ``tenant.provision``.
        tenant: a tenant's slug.
        error_class: what went wrong last.
        since: written then or later.
    """

    status: Status | None = None
    kind: Kind | None = None
    type: Text | None = None
    tenant: Text | None = None
    error_class: Text | None = None
    since: Annotated[datetime, Meta(tz=True)] | None = None

    @property
    def empty(self) -> bool:
        """Whether every message is meant."""
        return self == Filter()

    def where(self, arguments: list[Any]) -> str:
        """Return the condition on ``shared.messages m``, its values added to ``arguments``."""
        conditions = [_IN[self.status]] if self.status else ["true"]
        for name, condition in _CONDITIONS.items():
            value = getattr(self, name)
            if value is not None:
                arguments.append(value)
                conditions.append(condition.format(f"${len(arguments)}"))
        return " AND ".join(conditions)


# As text, not as an argument: a plan for every status would read through all messages for the few that stopped.
_IN: Final = {status: f"m.status = '{status}'" for status in get_args(Status)}
_CONDITIONS: Final = {
    "kind": "m.kind = {}",
    "type": "m.type = {}",
    "tenant": "m.tenant_id IN (SELECT id FROM shared.tenants WHERE slug = lower({}))",
    "error_class": "m.error_class = {}",
    "since": "m.created_at >= {}",
}


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A message, as lists show it.

    Args:
        tenant: whose it is: the slug.
        attempts: how often it was tried since it was written or replayed.
        deliveries: how often it was handed to the broker.
        replays: how often an operator sent it again.
        frame: where the last failure came up.
        caused_by: the message that led to this one.
    """

    id: UUID
    kind: Kind
    type: str
    tenant: str | None
    status: Status
    attempts: int
    deliveries: int
    replays: int
    error_class: str | None
    last_error: str | None
    frame: str | None
    caused_by: UUID | None
    created_at: datetime
    available_at: datetime
    published_at: datetime | None
    handled_at: datetime | None

    @classmethod
    def of(cls, row: Record) -> "Item":
        return cls(**{name: row[name] for name in cls.__struct_fields__})


_ITEM: Final = ", ".join(
    "t.slug AS tenant" if name == "tenant" else f"m.{name}" for name in Item.__struct_fields__
)
_FROM: Final = "shared.messages m LEFT JOIN shared.tenants t ON t.id = m.tenant_id"


async def find(
    connection: Connection, wanted: Filter, *, limit: int, before: UUID | None = None
) -> list[Item]:
    """Return messages, newest first.

    Args:
        connection: anybody's who may read the ledger.
        wanted: which.
        limit: how many at most.
        before: the last one of the page before.
    """
    arguments: list[Any] = [limit, before]
    rows = await connection.fetch(
        f"""
        SELECT {_ITEM} FROM {_FROM}
        WHERE ($2::uuid IS NULL OR m.id < $2) AND {wanted.where(arguments)}
        ORDER BY m.id DESC LIMIT $1
        """,
        *arguments,
    )
    return [Item.of(row) for row in rows]


async def these(connection: Connection, message_ids: Sequence[UUID]) -> list[Item]:
    """Return the messages of these ids, newest first."""
    rows = await connection.fetch(
        f"SELECT {_ITEM} FROM {_FROM} WHERE m.id = ANY($1) ORDER BY m.id DESC", list(message_ids)
    )
    return [Item.of(row) for row in rows]


class Group(msgspec.Struct, frozen=True):
    """Messages that failed alike: one type, one class of error, raised at one place.

    Args:
        type: the messages' type.
        error_class: the errors' class.
        frame: where they came up.
        count: how many messages.
        oldest: when the first was written.
        newest: when the last was written.
        sample: the id of the last.
        error: the words of its error.
    """

    type: str
    error_class: str | None
    frame: str | None
    count: int
    oldest: datetime
    newest: datetime
    sample: UUID
    error: str | None


async def groups(connection: Connection, wanted: Filter, *, limit: int = 100) -> list[Group]:
    """Return messages by what happened to them, the largest group first.

    Args:
        connection: anybody's who may read the ledger.
        wanted: which messages; parked ones where it names no status.
        limit: groups at most.
    """
    if wanted.status is None:
        wanted = msgspec.structs.replace(wanted, status="parked")
    arguments: list[Any] = [limit]
    rows = await connection.fetch(
        f"""
        WITH grouped AS (
          SELECT m.type, m.error_class, m.frame, count(*) AS count, min(m.created_at) AS oldest,
                 max(m.created_at) AS newest, (array_agg(m.id ORDER BY m.created_at DESC, m.id))[1] AS sample
          FROM shared.messages m WHERE {wanted.where(arguments)}
          GROUP BY m.type, m.error_class, m.frame
          ORDER BY count(*) DESC, max(m.created_at) DESC LIMIT $1)
        SELECT g.type, g.error_class, g.frame, g.count, g.oldest, g.newest, g.sample, m.last_error AS error
        FROM grouped g JOIN shared.messages m ON m.id = g.sample
        ORDER BY g.count DESC, g.newest DESC
        """,
        *arguments,
    )
    return [Group(**dict(row)) for row in rows]


class Moment(msgspec.Struct, frozen=True):
    """Something in the life of a message.

    Args:
        at: when.
        what: ``cause`` (a message that led to it), ``self``, ``effect`` (one that followed from it) or
            ``audit`` (what an operator did).
        name: the message's type, or the audit entry's action.
        id: the message's.
        status: the message's, or the audit entry's outcome.
        actor: who did it.
        reason: why, in their words.
    """

    at: datetime
    what: Literal["cause", "self", "effect", "audit"]
    name: str
    id: UUID | None
    status: str
    actor: str | None
    reason: str | None


class Failed(msgspec.Struct, frozen=True):
    """An attempt that failed.

    Args:
        at: when.
        replays: how often an operator had sent the message again by then.
        attempt: which attempt it was since.
        error_class: the error's class.
        error: its words.
        traceback: its traceback.
        frame: where it came up.
    """

    at: datetime
    replays: int
    attempt: int
    error_class: str
    error: str
    traceback: str | None
    frame: str | None


class Detail(Item, frozen=True, kw_only=True):
    """A message with all that is kept of it.

    Args:
        payload: the CloudEvent.
        raw_body: what arrived, where that was no message of ours.
        traceback: the last failure's.
        failures: the last 20 attempts that failed, oldest first.
        timeline: what led to it, what it led to, and what operators did about it, oldest first.
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
    timeline: list[Moment]


_MORE: Final = ", ".join(
    f"m.{name}" for name in Detail.__struct_fields__ if name not in {*Item.__struct_fields__, "timeline"}
)


async def read(connection: Connection, message_id: UUID) -> Detail | None:
    """Return one message; None where there is no such."""
    row = await connection.fetchrow(f"SELECT {_ITEM}, {_MORE} FROM {_FROM} WHERE m.id = $1", message_id)
    if row is None:
        return None
    values = {**dict(row), "failures": msgspec.json.decode(row["failures"], type=list[Failed])}
    if row["payload"] is not None:
        values["payload"] = msgspec.json.decode(row["payload"])
    if row["raw_body"] is not None:
        values["raw_body"] = row["raw_body"].decode(errors="replace")
    return Detail(**values, timeline=await _timeline(connection, message_id))


_TIMELINE: Final = """
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
UNION ALL
SELECT a.at, 'audit', a.action, NULL, a.outcome, a.actor, a.detail->>'reason'
FROM shared.audit_log a WHERE a.detail ? 'message_id' AND a.detail->>'message_id' = $1::text
ORDER BY at DESC, id DESC LIMIT 200
"""


async def _timeline(connection: Connection, message_id: UUID) -> list[Moment]:
    rows = await connection.fetch(_TIMELINE, message_id)
    return [Moment(**dict(row)) for row in reversed(rows)]
