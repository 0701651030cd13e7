"""The fleet: all tenants, as operators see them: filtered lists, and one with all that belongs to it."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from db import registry
from db.connection import Connection
from db.registry import Status, Tenant
from db.timeline import Step, timeline

Text = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which tenants are meant; what is left out does not narrow them down.

    Args:
        status: the registry's. Purged tenants are meant only where they are asked for.
        revision: a revision, or the beginning of one.
        q: text within the slug or the name, whatever its case.
    """

    status: Status | None = None
    revision: Text | None = None
    q: Text | None = None


class KeyInfo(msgspec.Struct, frozen=True):
    """A tenant's key, without its secret."""

    id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class Belongings(msgspec.Struct, frozen=True):
    """What belongs to a tenant."""

    hosts: list[str]
    keys: list[KeyInfo]
    timeline: list[Step]


_CONDITIONS: Final = {
    "status": "status = {}",
    "revision": "starts_with(revision, {})",
    "q": "(strpos(slug, lower({0})) > 0 OR strpos(lower(name), lower({0})) > 0)",
}


async def tenants(
    connection: Connection, meant: Filter, *, limit: int | None = None, after: tuple[str, UUID] | None = None
) -> list[Tenant]:
    """Return tenants, in the order of their slugs.

    Args:
        connection: anybody's who may read the registry.
        meant: which.
        limit: tenants at most; all, by default.
        after: slug and id of a tenant: only those that follow it.
    """
    arguments: list[Any] = [limit]
    conditions = ["true"] if meant.status else ["status <> 'purged'"]
    for name, condition in _CONDITIONS.items():
        value = getattr(meant, name)
        if value is not None:
            arguments.append(value)
            conditions.append(condition.format(f"${len(arguments)}"))
    if after is not None:
        conditions.append(f"(slug, id) > (${len(arguments) + 1}, ${len(arguments) + 2})")
        arguments += after
    rows = await connection.fetch(
        f"""
        SELECT {registry.COLUMNS} FROM shared.tenants
        WHERE {" AND ".join(conditions)} ORDER BY slug, id LIMIT $1
        """,
        *arguments,
    )
    return [Tenant.of(row) for row in rows]


async def belongings(connection: Connection, tenant_id: UUID) -> Belongings:
    """Return what belongs to a tenant: its hosts, its keys (log-ins are no keys) and its newest steps."""
    hosts = await connection.fetch(
        "SELECT host FROM shared.tenant_hosts WHERE tenant_id = $1 ORDER BY host", tenant_id
    )
    keys = await connection.fetch(
        """
        SELECT id, name, scopes, created_at, expires_at, revoked_at, last_used_at FROM shared.access_tokens
        WHERE tenant_id = $1 AND kind = 'tenant' ORDER BY created_at, id
        """,
        tenant_id,
    )
    return Belongings(
        hosts=[row["host"] for row in hosts],
        keys=[KeyInfo(**dict(row)) for row in keys],
        timeline=await timeline(connection, tenant_id),
    )
