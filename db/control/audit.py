"""Reading of the audit log by operators: filtered, newest first. `db.audit` writes the log."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from db.names import Line
from db.session import filters
from db.session.connection import Connection


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
    since: Annotated[datetime, Meta(tz=True)] | None = None


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
        f"""
        SELECT a.id, a.at, a.actor, a.action, a.outcome, a.tenant_id, t.slug AS tenant, a.request_id, a.detail
        FROM shared.audit_log a LEFT JOIN shared.tenants t ON t.id = a.tenant_id
        WHERE {" AND ".join(where)}
        ORDER BY a.id DESC LIMIT $1
        """,
        *arguments,
    )
    return [AuditEntry(**{**dict(row), "detail": msgspec.json.decode(row["detail"])}) for row in rows]
