"""Lists of messages: filtered and newest first, or grouped by type, error and place."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, get_args
from uuid import UUID

import msgspec
from asyncpg import Record

from db import moments
from db.ledger.states import MessageKind, MessageStatus
from db.moments import Moment
from db.names import Line
from db.session import filters
from db.session.connection import Connection


class MessageFilter(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Which messages to list. A field that is None does not narrow the list.

    Args:
        status: the messages' status.
        kind: ``command`` or ``event``.
        type: the messages' type, such as ``tenant.provision``.
        tenant: a tenant's slug.
        error_class: the class of the messages' last error.
        since: list messages written at this time or later.
    """

    status: MessageStatus | None = None
    kind: MessageKind | None = None
    type: Line | None = None
    tenant: Line | None = None
    error_class: Line | None = None
    since: Moment | None = None

    def __post_init__(self) -> None:
        if self.since is not None:
            msgspec.structs.force_setattr(self, "since", moments.checked(self.since, "since"))

    @property
    def empty(self) -> bool:
        """Whether the filter matches all messages."""
        return self == MessageFilter()

    def where(self, arguments: list[Any]) -> str:
        """Return the SQL condition on ``shared.messages m``, and append its values to ``arguments``."""
        found = [_IN[self.status]] if self.status else ["true"]
        return " AND ".join([*found, *filters.conditions(self, _CONDITIONS, arguments)])


# As text, not as an argument: a generic plan for any status could not use the indexes on one status.
_IN: Final = {status: f"m.status = '{status}'" for status in get_args(MessageStatus)}
_CONDITIONS: Final = {
    "kind": "m.kind = {}",
    "type": "m.type = {}",
    "tenant": "m.tenant_id IN (SELECT id FROM shared.tenants WHERE slug = {})",
    "error_class": "m.error_class = {}",
    "since": "m.created_at >= {}",
}


class MessageItem(msgspec.Struct, frozen=True, kw_only=True):
    """A message, as lists show it.

    Args:
        tenant: the tenant's slug.
        attempts: how many attempts there were since the message was written or last replayed.
        deliveries: how often the message was handed to the broker.
        replays: how often an operator replayed the message.
        frame: where the last error was raised, as ``file:line in function``.
        caused_by: the id of the message that led to this one.
    """

    id: UUID
    kind: MessageKind
    type: str
    tenant: str | None
    status: MessageStatus
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
    def of(cls, row: Record) -> "MessageItem":
        return cls(**{name: row[name] for name in cls.__struct_fields__})


ITEM: Final = ", ".join(
    "t.slug AS tenant" if name == "tenant" else f"m.{name}" for name in MessageItem.__struct_fields__
)
FROM: Final = "shared.messages m LEFT JOIN shared.tenants t ON t.id = m.tenant_id"


async def list_(
    connection: Connection, wanted: MessageFilter, *, limit: int, before: UUID | None = None
) -> list[MessageItem]:
    """Return messages, newest first.

    Args:
        connection: of a login that may read the ledger.
        wanted: which messages.
        limit: most messages to return.
        before: return only messages older than the one with this id.
    """
    arguments: list[Any] = [limit, before]
    rows = await connection.fetch(
        f"""
        SELECT {ITEM} FROM {FROM}
        WHERE ($2::uuid IS NULL OR m.id < $2) AND {wanted.where(arguments)}
        ORDER BY m.id DESC LIMIT $1
        """,
        *arguments,
    )
    return [MessageItem.of(row) for row in rows]


async def list_by_id(connection: Connection, message_ids: Sequence[UUID]) -> list[MessageItem]:
    """Return the messages with these ids, newest first."""
    rows = await connection.fetch(
        f"SELECT {ITEM} FROM {FROM} WHERE m.id = ANY($1) ORDER BY m.id DESC", list(message_ids)
    )
    return [MessageItem.of(row) for row in rows]


class MessageGroup(msgspec.Struct, frozen=True):
    """Messages of one type whose last errors have the same class and were raised at the same place.

    Args:
        type: the messages' type.
        error_class: the errors' class.
        frame: where the errors were raised.
        count: the number of messages.
        oldest: when the first message was written.
        newest: when the last message was written.
        sample: the id of the last message.
        error: the error of the last message.
    """

    type: str
    error_class: str | None
    frame: str | None
    count: int
    oldest: datetime
    newest: datetime
    sample: UUID
    error: str | None


async def list_groups(
    connection: Connection, wanted: MessageFilter, *, limit: int = 100
) -> list[MessageGroup]:
    """Return groups of messages, the largest first.

    Args:
        connection: of a login that may read the ledger.
        wanted: which messages; parked ones if it has no status.
        limit: most groups to return.
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
    return [MessageGroup(**dict(row)) for row in rows]
