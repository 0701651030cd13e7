"""The registry: which tenants there are, and the one function that changes what state they are in."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec
import uuid_utils.compat as uuid7
from asyncpg import Record

from db import names
from db.errors import TakenError, WrongStateError
from db.ledger import outbox
from db.ledger.contracts import Data
from db.ledger.envelope import Message, message
from db.names import SchemaName
from db.session.connection import Connection
from db.tenants.states import TRANSITIONS, TenantStatus

NOBODY: Final = UUID(int=0)
"""The id of no tenant, to look up what is not there in the time that what is there takes."""


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant, as the registry knows it."""

    id: UUID
    slug: str
    name: str
    schema_name: SchemaName
    status: TenantStatus
    status_before: TenantStatus | None
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


class IllegalTransitionError(WrongStateError):
    """The tenant is not in a state from which it can go where it was sent."""

    def __init__(self, tenant: Tenant, to: TenantStatus) -> None:
        super().__init__(f"{tenant.slug} is {tenant.status}, and cannot become {to}")


async def get(connection: Connection, tenant_id: UUID) -> Tenant | None:
    """Return the tenant of this id, whatever its state."""
    row = await connection.fetchrow(f"SELECT {COLUMNS} FROM shared.tenants WHERE id = $1", tenant_id)
    return Tenant.of(row) if row else None


async def get_named(connection: Connection, slug: str) -> Tenant | None:
    """Return the tenant that has ``slug`` now, folded; a purged one no longer has it."""
    return await _named(connection, slug, "")


async def lock(connection: Connection, tenant_id: UUID) -> Tenant | None:
    """Return the tenant, its row locked for the transaction against other transitions."""
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM shared.tenants WHERE id = $1 FOR NO KEY UPDATE", tenant_id
    )
    return Tenant.of(row) if row else None


async def lock_named(connection: Connection, slug: str) -> Tenant | None:
    """Return the tenant that has ``slug`` now, locked as `lock` does."""
    return await _named(connection, slug, "FOR NO KEY UPDATE")


async def _named(connection: Connection, slug: str, locking: str) -> Tenant | None:
    chosen = names.get_slug(slug)
    if chosen is None:
        return None
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM shared.tenants WHERE slug = $1 AND status <> 'purged' {locking}", chosen
    )
    return Tenant.of(row) if row else None


async def add(connection: Connection, slug: str, name: str, claim_hash: bytes | None) -> Tenant:
    """Register a tenant, in the caller's transaction.

    Args:
        connection: within a transaction.
        slug: as `names.slug` returned it.
        name: what people call it.
        claim_hash: the SHA-256 of the secret that its first key is claimed with, if there is one.

    Raises:
        TakenError: another tenant has the slug.
    """
    row = await connection.fetchrow(
        f"""
        INSERT INTO shared.tenants (id, slug, name, schema_name, claim_hash) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (slug) WHERE status <> 'purged' DO NOTHING
        RETURNING {COLUMNS}
        """,
        uuid7.uuid7(),
        slug,
        name,
        names.new_schema_name(),
        claim_hash,
    )
    if row is None:
        raise TakenError("slug")
    return Tenant.of(row)


async def transition(
    connection: Connection,
    tenant: Tenant,
    to: TenantStatus,
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
        IllegalTransitionError: it cannot go there from where it is.
    """
    restoring = tenant.status == "deleted" and to != "purging"
    if to not in TRANSITIONS[tenant.status] or (restoring and to != tenant.status_before):
        raise IllegalTransitionError(tenant, to)
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
    assert row is not None  # the caller holds the row's lock
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
    assert row is not None  # the caller holds the row's lock
    return Tenant.of(row)


async def touch_behind(
    connection: Connection, statuses: Collection[TenantStatus], older: Sequence[str], revision: str
) -> list[Tenant]:
    """Lock all tenants that are behind a revision, and not asked to go there already; move each to its next version.

    Args:
        connection: within a transaction.
        statuses: states that they must be in.
        older: the revisions before it.
        revision: the revision.
    """
    rows = await connection.fetch(
        f"""
        WITH behind AS (
          SELECT id FROM shared.tenants t
          WHERE status = ANY($1::text[]) AND revision = ANY($2::text[]) AND NOT EXISTS (
            SELECT FROM shared.messages m
            WHERE m.tenant_id = t.id AND m.type = 'tenant.migrate' AND m.status IN ('pending', 'published')
              AND m.payload->'data'->>'revision' = $3)
          ORDER BY id FOR NO KEY UPDATE)
        UPDATE shared.tenants SET version = version + 1, updated_at = now()
        WHERE id IN (SELECT id FROM behind)
        RETURNING {COLUMNS}
        """,
        sorted(statuses),
        older,
        revision,
    )
    return [Tenant.of(row) for row in rows]


async def rename(connection: Connection, tenant: Tenant, *, slug: str, name: str) -> Tenant:
    """Give a locked tenant another slug or name, and its next version.

    Args:
        connection: within the transaction that locked the tenant.
        tenant: as `lock` returned it.
        slug: as `names.slug` returned it.
        name: what people call it.

    Raises:
        TakenError: another tenant has the slug.
    """
    try:
        row = await connection.fetchrow(
            f"""
            UPDATE shared.tenants SET slug = $2, name = $3, version = version + 1, updated_at = now()
            WHERE id = $1 RETURNING {COLUMNS}
            """,
            tenant.id,
            slug,
            name,
        )
    except asyncpg.UniqueViolationError as error:
        raise TakenError("slug") from error
    assert row is not None  # the caller holds the row's lock
    return Tenant.of(row)


async def record_revision(
    connection: Connection, tenant_id: UUID, revision: str | None, compatible_from: str | None
) -> None:
    """Write down which revision a tenant's schema is at, in the transaction of the migration.

    Args:
        connection: the owner's.
        tenant_id: the tenant.
        revision: the revision; None for a schema before the first.
        compatible_from: the oldest revision whose code still works with it.
    """
    await connection.execute(
        "UPDATE shared.tenants SET revision = $2, compatible_from = $3, updated_at = now() WHERE id = $1",
        tenant_id,
        revision,
        compatible_from,
    )


def about(tenant: Tenant, data: Data, **more: Any) -> Message:
    """Make a message about a tenant, in its place among the tenant's messages."""
    return message(data, subject=tenant.slug, tenant_id=tenant.id, tenant_version=tenant.version, **more)


async def tell(connection: Connection, tenant: Tenant, data: Data, **more: Any) -> Message:
    """Write a message about a tenant to the ledger, in the caller's transaction."""
    made = about(tenant, data, **more)
    await outbox.append(connection, [made])
    return made
