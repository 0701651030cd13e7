"""Asking for migrations: a ``tenant.migrate`` command, for one tenant or for all that are behind."""

from typing import Final

from db import audit, ledger, lifecycle, registry
from db.audit import By
from db.connection import Connection
from db.contracts import Message, Migrate
from db.lifecycle import WrongState
from db.migrations.lineage import Lineage
from db.registry import Status, Tenant

MIGRATABLE: Final[frozenset[Status]] = frozenset({"active", "suspended"})
"""States of tenants that have a schema, and are not on their way out."""


async def migrate(
    connection: Connection, slug: str, by: By, lineage: Lineage, *, revision: str = "head"
) -> Message:
    """Ask for a tenant's schema to be brought to a revision; where it is there already, nothing will happen.

    Args:
        connection: within a transaction.
        slug: the tenant's.
        by: who asks.
        lineage: the tenants' revisions.
        revision: ``head``, a revision or the beginning of one.

    Returns:
        The command.

    Raises:
        UnknownTenant: nobody holds the slug.
        UnknownRevision: the lineage has no such revision.
        WrongState: it has no schema, is deleted, or is newer than the revision.
    """
    target = lineage.resolve(revision)
    tenant = await lifecycle.locked(connection, slug, MIGRATABLE, "migrated")
    if tenant.revision is None:
        raise WrongState(f"{tenant.slug} has no schema")
    if not lineage.knows(tenant.revision) or lineage.position(tenant.revision) > lineage.position(target):
        raise WrongState(f"{tenant.slug} is at {tenant.revision}, which is newer than {target}")
    touched = await registry.touch(connection, tenant)
    command = await registry.tell(connection, touched, Migrate(tenant_id=tenant.id, revision=target))
    await lifecycle.note(
        connection, touched, "tenant.migrate", by, revision=target, message_id=str(command.id)
    )
    return command


async def migrate_all(
    connection: Connection, by: By, lineage: Lineage, *, revision: str = "head"
) -> list[Message]:
    """Ask for the migration of every tenant that is behind a revision, and not asked to go there already.

    Args:
        connection: within a transaction, which locks all of these tenants.
        by: who asks.
        lineage: the tenants' revisions.
        revision: ``head``, a revision or the beginning of one.

    Returns:
        The commands, one a tenant.

    Raises:
        UnknownRevision: the lineage has no such revision.
    """
    target = lineage.resolve(revision)
    older = [script.revision for script in lineage.revisions[: lineage.position(target)]]
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
        RETURNING {registry.COLUMNS}
        """,
        sorted(MIGRATABLE),
        older,
        target,
    )
    tenants = [Tenant.of(row) for row in rows]
    commands = [registry.about(tenant, Migrate(tenant_id=tenant.id, revision=target)) for tenant in tenants]
    await ledger.append(connection, commands)
    await audit.record(
        connection,
        actor=by.actor,
        action="tenant.migrate_all",
        request_id=by.request_id,
        detail={**({"reason": by.reason} if by.reason else {}), "revision": target, "count": len(commands)},
    )
    return commands
