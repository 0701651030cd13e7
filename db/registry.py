"""The registry: which tenants there are, and the one function that changes what state they are in."""

from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from asyncpg import Record

from db import ledger
from db.connection import Connection
from db.contracts import Data, Message, message
from db.names import SLUG, SchemaName

CHANNEL: Final = "tenantry_registry"
"""NOTIFY channel, with an empty payload, of changed tenants, hosts and tokens."""

NOBODY: Final = UUID(int=0)
"""The id of no tenant, to look up what is not there in the time that what is there takes."""

Status = Literal["pending", "provisioning", "active", "failed", "suspended", "deleted", "purging", "purged"]

TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    "pending": frozenset({"provisioning", "failed", "deleted"}),
    "provisioning": frozenset({"active", "failed"}),
    "failed": frozenset({"provisioning", "deleted"}),
    "active": frozenset({"suspended", "deleted"}),
    "suspended": frozenset({"active", "deleted"}),
    # A deleted tenant goes back to what it was.
    "deleted": frozenset({"pending", "failed", "active", "suspended", "purging"}),
    "purging": frozenset({"purged"}),
    "purged": frozenset(),
}


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant, as the registry knows it."""

    id: UUID
    slug: str
    name: str
    schema_name: SchemaName
    status: Status
    status_before: Status | None
    revision: str | None
    compatible_from: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    purge_after: datetime | None

    @classmethod
    def of(cls, row: Record) -> "Tenant":
        return cls(**{name: row[name] for name in cls.__struct_fields__})


COLUMNS: Final = ", ".join(Tenant.__struct_fields__)


class IllegalTransition(Exception):  # noqa: N818 - reads as what was asked for
    """The tenant is not in a state from which it can go where it was sent."""

    def __init__(self, tenant: Tenant, to: Status) -> None:
        super().__init__(f"{tenant.slug} is {tenant.status}, and cannot become {to}")
        self.tenant = tenant
        self.to = to


async def find(connection: Connection, slug: str) -> Tenant | None:
    """Return the tenant that holds ``slug`` now, whatever its case; a purged one no longer does."""
    return await _holder(connection, slug, "")


async def get(connection: Connection, tenant_id: UUID) -> Tenant | None:
    """Return the tenant of this id, whatever its state."""
    row = await connection.fetchrow(f"SELECT {COLUMNS} FROM shared.tenants WHERE id = $1", tenant_id)
    return Tenant.of(row) if row else None


async def lock(connection: Connection, tenant_id: UUID) -> Tenant | None:
    """Return the tenant, its row locked for the transaction against other transitions."""
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM shared.tenants WHERE id = $1 FOR NO KEY UPDATE", tenant_id
    )
    return Tenant.of(row) if row else None


async def lock_named(connection: Connection, slug: str) -> Tenant | None:
    """Return the tenant that holds ``slug`` now, locked as `lock` does."""
    return await _holder(connection, slug, "FOR NO KEY UPDATE")


async def _holder(connection: Connection, slug: str, locking: str) -> Tenant | None:
    folded = slug.casefold()
    if not SLUG.match(folded):
        return None  # and nothing that PostgreSQL could choke on, such as a NUL
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM shared.tenants WHERE slug = $1 AND status <> 'purged' {locking}", folded
    )
    return Tenant.of(row) if row else None


async def transition(
    connection: Connection,
    tenant: Tenant,
    to: Status,
    *,
    purge_after: datetime | None = None,
) -> Tenant:
    """Move a locked tenant to the state ``to`` and its next version.

    Every change of ``tenants.status`` goes through here; the event that tells of it, if there is one,
    is for the caller to write with `tell` in the same transaction.

    Args:
        connection: within the transaction that locked the tenant.
        tenant: as `lock` returned it.
        to: where it goes.
        purge_after: for ``deleted``: until when it can be restored.

    Raises:
        IllegalTransition: it cannot go there from where it is.
    """
    restoring = tenant.status == "deleted" and to != "purging"
    if to not in TRANSITIONS[tenant.status] or (restoring and to != tenant.status_before):
        raise IllegalTransition(tenant, to)
    row = await connection.fetchrow(
        f"""
        UPDATE shared.tenants
        SET status = $2, version = version + 1, updated_at = now(),
            status_before = CASE WHEN $2 = 'deleted' THEN status END, purge_after = $3
        WHERE id = $1
        RETURNING {COLUMNS}
        """,
        tenant.id,
        to,
        purge_after,
    )
    assert row is not None  # noqa: S101 - the caller holds the row's lock
    return Tenant.of(row)


async def touch(connection: Connection, tenant: Tenant) -> Tenant:
    """Move a locked tenant to its next version, its state unchanged."""
    row = await connection.fetchrow(
        f"""
        UPDATE shared.tenants SET version = version + 1, updated_at = now() WHERE id = $1
        RETURNING {COLUMNS}
        """,
        tenant.id,
    )
    assert row is not None  # noqa: S101 - the caller holds the row's lock
    return Tenant.of(row)


async def rename(connection: Connection, tenant: Tenant, *, slug: str, name: str) -> Tenant:
    """Give a locked tenant another slug or name, and its next version.

    Args:
        connection: within the transaction that locked the tenant.
        tenant: as `lock` returned it.
        slug: as `names.slug` returned it.
        name: what people call it.

    Raises:
        asyncpg.UniqueViolationError: another tenant has the slug.
    """
    row = await connection.fetchrow(
        f"""
        UPDATE shared.tenants SET slug = $2, name = $3, version = version + 1, updated_at = now()
        WHERE id = $1 RETURNING {COLUMNS}
        """,
        tenant.id,
        slug,
        name,
    )
    assert row is not None  # noqa: S101 - the caller holds the row's lock
    return Tenant.of(row)


def about(tenant: Tenant, data: Data, **more: Any) -> Message:
    """Make a message about a tenant, in its place among the tenant's messages."""
    return message(data, subject=tenant.slug, tenant_id=tenant.id, tenant_version=tenant.version, **more)


async def tell(connection: Connection, tenant: Tenant, data: Data, **more: Any) -> Message:
    """Write a message about a tenant to the ledger, in the caller's transaction."""
    made = about(tenant, data, **more)
    await ledger.append(connection, [made])
    return made
