"""The audit log: who did what, written in the transaction of the change. Rows are only ever added."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from db.connection import Connection

Text = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


class By(msgspec.Struct, frozen=True):
    """Who acts, and why.

    Args:
        actor: as `record` wants it.
        request_id: the request's.
        reason: in their own words.
    """

    actor: str
    request_id: str | None = None
    reason: str | None = None


async def record(
    connection: Connection,
    *,
    actor: str,
    action: str,
    tenant_id: UUID | None = None,
    request_id: str | None = None,
    outcome: str = "ok",
    detail: dict[str, Any] | None = None,
) -> None:
    """Write an entry.

    Args:
        connection: within the transaction of the change; as the login, not as a tenant's role.
        actor: the key id of the token, or ``shell:<user>``, ``provisioner``, ``anonymous``.
        action: what was done, as ``resource.verb``, such as ``tenant.suspend``.
        tenant_id: to whom.
        request_id: the request's, or the message's.
        outcome: ``ok``, or why not.
        detail: what else matters; never a secret.
    """
    await connection.execute(
        """
        INSERT INTO shared.audit_log (actor, tenant_id, request_id, action, outcome, detail)
        VALUES ($1, $2, $3, $4, $5, $6::jsonb)
        """,
        actor,
        tenant_id,
        request_id,
        action,
        outcome,
        msgspec.json.encode(detail or {}).decode(),
    )


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are meant; what is left out does not narrow them down.

    Args:
        tenant: the slug of the tenant that something was done to.
        actor: who did it.
        action: what was done, such as ``tenant.suspend``.
        since: done then or later.
    """

    tenant: Text | None = None
    actor: Text | None = None
    action: Text | None = None
    since: Annotated[datetime, Meta(tz=True)] | None = None


class Entry(msgspec.Struct, frozen=True):
    """An entry; ``tenant`` is the slug that the tenant has now."""

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


async def entries(
    connection: Connection, meant: Filter, *, limit: int, before: int | None = None
) -> list[Entry]:
    """Return entries, newest first.

    Args:
        connection: anybody's who may read the log.
        meant: which.
        limit: entries at most.
        before: an entry's id: only what was written before it.
    """
    conditions, arguments = ["a.id < coalesce($2, a.id + 1)"], [limit, before]
    for name, condition in _CONDITIONS.items():
        value = getattr(meant, name)
        if value is not None:
            arguments.append(value)
            conditions.append(condition.format(f"${len(arguments)}"))
    rows = await connection.fetch(
        f"""
        SELECT a.id, a.at, a.actor, a.action, a.outcome, a.tenant_id, t.slug AS tenant, a.request_id, a.detail
        FROM shared.audit_log a LEFT JOIN shared.tenants t ON t.id = a.tenant_id
        WHERE {" AND ".join(conditions)}
        ORDER BY a.id DESC LIMIT $1
        """,
        *arguments,
    )
    return [Entry(**{**dict(row), "detail": msgspec.json.decode(row["detail"])}) for row in rows]
