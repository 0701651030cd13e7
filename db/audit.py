"""The audit log: who did what, written in the transaction of the change. Rows are never changed or deleted.

All statements on the log stand here: one that writes, and those that read.

Every change by an operator, a tenant's client or a sign-up flow is recorded with `record`. Details have the
names of columns: ``key_id``, ``message_id``, ``replay_id``, ``rollout_id``, ``user_id``, ``role_id``,
``permission_id``, ``status_before``; ``fields`` lists the names of changed fields. Of a message that was edited,
``successor_id`` is the message in its place, and ``successor_tenant_id`` that one's tenant if it is another.
"""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from asyncpg import Record

from db import moments
from db.moments import Moment
from db.names import Line, composed
from db.session import filters
from db.session.connection import Connection


class By(msgspec.Struct, frozen=True):
    """Who acts, and why.

    Args:
        actor: the key id of the token, or ``shell:<user>``, ``provisioner`` or ``anonymous``.
        request_id: the id of the request or message that asked for the change.
        reason: why, in the actor's own words.
    """

    actor: str
    request_id: str | None = None
    reason: str | None = None


INSERT: Final = """
INSERT INTO shared.audit_log (actor, tenant_id, request_id, action, outcome, detail)
VALUES ($1, $2, $3, $4, $5, $6::jsonb)
"""
"""The statement that writes an entry; `entry` returns its arguments."""


def entry(
    by: By, action: str, *, tenant_id: UUID | None = None, outcome: str = "ok", **detail: Any
) -> tuple[Any, ...]:
    """Return an entry as the arguments of `INSERT`; see `record`."""
    said = {"reason": None if by.reason is None else composed(by.reason), **detail}
    told = msgspec.json.encode({name: value for name, value in said.items() if value is not None})
    return by.actor, tenant_id, by.request_id, action, outcome, told.decode()


async def record(
    connection: Connection,
    by: By,
    action: str,
    *,
    tenant_id: UUID | None = None,
    outcome: str = "ok",
    **detail: Any,
) -> None:
    """Write an audit entry.

    Args:
        connection: in the transaction of the change, with the role of the login, not of a tenant.
        by: who acted, and why.
        action: what was done, as ``resource.verb``, such as ``tenant.suspend``.
        tenant_id: the id of the tenant that was acted on.
        outcome: ``ok``, or the kind of the problem that the act ended with.
        detail: further details, never a secret. A detail that is None is left out.
    """
    await connection.execute(INSERT, *entry(by, action, tenant_id=tenant_id, outcome=outcome, **detail))


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries to list. A field that is None does not narrow the list.

    Args:
        tenant: the slug of the tenant that was acted on.
        actor: who acted.
        action: what was done, such as ``tenant.suspend``.
        since: list entries written at this time or later.
    """

    tenant: Line | None = None
    actor: Line | None = None
    action: Line | None = None
    since: Moment | None = None

    def __post_init__(self) -> None:
        if self.since is not None:
            msgspec.structs.force_setattr(self, "since", moments.checked(self.since, "since"))


class AuditEntry(msgspec.Struct, frozen=True):
    """An entry of the audit log. ``tenant`` is the slug that the tenant has now."""

    id: int
    at: datetime
    actor: str
    action: str
    outcome: str
    tenant_id: UUID | None
    tenant: str | None
    request_id: str | None
    detail: dict[str, Any]

    @classmethod
    def of(cls, row: Record) -> "AuditEntry":
        return cls(**{**dict(row), "detail": msgspec.json.decode(row["detail"])})


_SELECT: Final = """
SELECT a.id, a.at, a.actor, a.action, a.outcome, a.tenant_id, t.slug AS tenant, a.request_id, a.detail
FROM shared.audit_log a LEFT JOIN shared.tenants t ON t.id = a.tenant_id
"""
_CONDITIONS: Final = {
    "tenant": "a.tenant_id IN (SELECT id FROM shared.tenants WHERE slug = {})",
    "actor": "a.actor = {}",
    "action": "a.action = {}",
    "since": "a.at >= {}",
}


async def list_(
    connection: Connection, wanted: AuditFilter, *, limit: int, before: int | None = None
) -> list[AuditEntry]:
    """Return entries, newest first.

    Args:
        connection: of a login that may read the log.
        wanted: which entries.
        limit: most entries to return.
        before: return only entries older than the one with this id.
    """
    arguments: list[Any] = [limit, before]
    where = ["a.id < coalesce($2, a.id + 1)", *filters.conditions(wanted, _CONDITIONS, arguments)]
    rows = await connection.fetch(
        f"{_SELECT} WHERE {' AND '.join(where)} ORDER BY a.id DESC LIMIT $1", *arguments
    )
    return [AuditEntry.of(row) for row in rows]


async def list_of_message(
    connection: Connection, message_id: UUID, *, caused_by: UUID | None, limit: int
) -> list[AuditEntry]:
    """Return the entries of acts on a message, newest first, with the edit that made it.

    Args:
        connection: of a login that may read the log.
        message_id: the message's id.
        caused_by: the id of the message that led to it, which is the one that was edited. The entry of the
            edit has that ``message_id``, by which there is an index.
        limit: most entries to return.
    """
    rows = await connection.fetch(
        f"""
        {_SELECT} WHERE a.detail ? 'message_id' AND a.detail->>'message_id' IN ($1, $2)
          AND $1 IN (a.detail->>'message_id', a.detail->>'successor_id')
        ORDER BY a.id DESC LIMIT $3
        """,
        str(message_id),
        str(caused_by or message_id),
        limit,
    )
    return [AuditEntry.of(row) for row in rows]
