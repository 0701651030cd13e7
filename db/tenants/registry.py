"""The registry: which tenants there are, and `transition`, the only function that changes their state."""

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
"""The id of no tenant, so that a failed look-up takes the same time as a successful one."""


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant, as it is in the registry."""

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
    """The tenant cannot go from its state to the new one."""

    def __init__(self, tenant: Tenant, to: TenantStatus) -> None:
        super().__init__(f"{tenant.slug} is {tenant.status}, and cannot become {to}")


async def get(connection: Connection, tenant_id: UUID) -> Tenant | None:
    """Return the tenant with this id, whatever its state, or None if there is no such tenant."""
    row = await connection.fetchrow(f"SELECT {COLUMNS} FROM shared.tenants WHERE id = $1", tenant_id)
    return Tenant.of(row) if row else None


async def get_named(connection: Connection, slug: str) -> Tenant | None:
    """Return the tenant that has ``slug``, in any case, or None. A purged tenant has no slug any more."""
    return await _named(connection, slug, "")


async def lock(connection: Connection, tenant_id: UUID) -> Tenant | None:
    """Return the tenant with this id, or None, and lock its row until the transaction ends."""
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM shared.tenants WHERE id = $1 FOR NO KEY UPDATE", tenant_id
    )
    return Tenant.of(row) if row else None


async def lock_named(connection: Connection, slug: str) -> Tenant | None:
    """Return the tenant that has ``slug``, or None. Lock its row as `lock` does."""
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
        connection: in a transaction.
        slug: a slug that `names.slug` returned.
        name: the tenant's name, for people.
        claim_hash: the SHA-256 of the secret with which the first key is claimed, if there is one.

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
    """Move a locked tenant to the state ``to`` and its next version, and return it.

    Every change of ``tenants.status`` goes through this function. The caller writes the event that tells
    of the change, if there is one, with `tell` in the same transaction.

    Args:
        connection: in the transaction that locked the tenant.
        tenant: the tenant, as `lock` returned it.
        to: the new state.
        purge_after: for ``deleted``, the time until which the tenant can be restored.

    Raises:
        IllegalTransitionError: the tenant cannot go from its state to ``to``.
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
    """Move a locked tenant to its next version without a change of state, and return it."""
    row = await connection.fetchrow(
        f"""
        UPDATE shared.tenants SET version = version + 1, updated_at = now() WHERE id = $1
        RETURNING {COLUMNS}
        """,
        tenant.id,
    )
    assert row is not None  # the caller holds the row's lock
    return Tenant.of(row)


async def rename(connection: Connection, tenant: Tenant, *, slug: str, name: str) -> Tenant:
    """Give a locked tenant another slug or name, move it to its next version, and return it.

    Args:
        connection: in the transaction that locked the tenant.
        tenant: the tenant, as `lock` returned it.
        slug: a slug that `names.slug` returned.
        name: the tenant's name, for people.

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
    """Record the revision of a tenant's schema, in the transaction of the migration.

    Args:
        connection: of the owner.
        tenant_id: the tenant's id.
        revision: the revision; None if the schema is before the first revision.
        compatible_from: the oldest revision whose code still works with the schema.
    """
    await connection.execute(
        "UPDATE shared.tenants SET revision = $2, compatible_from = $3, updated_at = now() WHERE id = $1",
        tenant_id,
        revision,
        compatible_from,
    )


async def give_schema(connection: Connection, tenant: Tenant, schema: SchemaName) -> Tenant:
    """Give a tenant that has no schema yet one that is there, and return it.

    Args:
        connection: of the owner, in the transaction that provisions the tenant.
        tenant: the tenant.
        schema: the schema's name.
    """
    row = await connection.fetchrow(
        f"UPDATE shared.tenants SET schema_name = $2 WHERE id = $1 RETURNING {COLUMNS}", tenant.id, schema
    )
    assert row is not None  # registry rows are never deleted
    return Tenant.of(row)


async def reached(
    connection: Connection, tenant_id: UUID, revision: str, compatible_from: str
) -> Tenant | None:
    """Record the revision of a tenant's schema, move the tenant to its next version, and return it, or None.

    Args:
        connection: of the owner, in the transaction of the migration.
        tenant_id: the tenant's id.
        revision: the revision.
        compatible_from: the oldest revision whose code still works with the schema.
    """
    changes = "revision = $2, compatible_from = $3, version = version + 1, updated_at = now()"
    row = await connection.fetchrow(
        f"UPDATE shared.tenants SET {changes} WHERE id = $1 RETURNING {COLUMNS}",
        tenant_id,
        revision,
        compatible_from,
    )
    return Tenant.of(row) if row else None


def about(tenant: Tenant, data: Data, **more: Any) -> Message:
    """Make a message about a tenant, ordered by the tenant's version. ``more`` goes to `envelope.message`."""
    return message(data, subject=tenant.slug, tenant_id=tenant.id, tenant_version=tenant.version, **more)


async def tell(connection: Connection, tenant: Tenant, data: Data, **more: Any) -> Message:
    """Write a message about a tenant to the ledger, in the caller's transaction, and return the message."""
    made = about(tenant, data, **more)
    await outbox.append(connection, [made])
    return made
