"""Operators' acts on a tenant, each in its caller's transaction, with the tenant's row locked.

An act changes the tenant, and writes an event or command and an audit entry. HTTP and the shell call the
same acts. Each act checks the state that it may start from, because the registry's transitions alone would
allow more: a resume could make a deleted tenant active.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from uuid import UUID

from db import audit, names
from db.audit import By
from db.errors import TenantryError, WrongStateError
from db.ledger import inbox
from db.ledger.contracts import Deleted, Event, Migrate, Provision, Renamed, Restored, Resumed, Suspended
from db.ledger.envelope import SIGN_UP, Message
from db.migrations.lineage import Lineage
from db.session.connection import Connection
from db.tenants import registry
from db.tenants.registry import Tenant
from db.tenants.states import LIVE, MIGRATABLE, TenantStatus


class UnknownTenantError(TenantryError):
    """No tenant has this slug."""

    kind = "not-found"

    def __init__(self, slug: str) -> None:
        super().__init__(f"there is no tenant {slug!r}")


async def require(connection: Connection, slug: str) -> Tenant:
    """Return the tenant that has ``slug``.

    Raises:
        UnknownTenantError: no tenant has the slug.
    """
    tenant = await registry.get_named(connection, slug)
    if tenant is None:
        raise UnknownTenantError(slug)
    return tenant


async def lock(connection: Connection, slug: str, allowed: Collection[TenantStatus], act: str) -> Tenant:
    """Return the tenant that has ``slug``, and lock its row until the transaction ends.

    Args:
        connection: in a transaction.
        slug: the tenant's slug.
        allowed: the states that the tenant may be in.
        act: a participle for the error message, such as ``suspended``.

    Raises:
        UnknownTenantError: no tenant has the slug.
        WrongStateError: the tenant is in another state.
    """
    tenant = await registry.lock_named(connection, slug)
    if tenant is None:
        raise UnknownTenantError(slug)
    if tenant.status not in allowed:
        raise WrongStateError(f"{tenant.slug} is {tenant.status}, and cannot be {act}")
    return tenant


async def suspend(connection: Connection, slug: str, by: By) -> Tenant:
    """Refuse an active tenant's requests until it is resumed.

    Raises:
        UnknownTenantError: no tenant has the slug.
        WrongStateError: the tenant is not active.
    """
    tenant = await lock(connection, slug, {"active"}, "suspended")
    suspended = await registry.transition(connection, tenant, "suspended")
    await _tell(connection, suspended, Suspended(suspended.id, suspended.slug))
    await audit.record(connection, by, "tenant.suspend", tenant_id=tenant.id)
    return suspended


async def resume(connection: Connection, slug: str, by: By) -> Tenant:
    """Serve a suspended tenant again.

    Raises:
        UnknownTenantError: no tenant has the slug.
        WrongStateError: the tenant is not suspended.
    """
    tenant = await lock(connection, slug, {"suspended"}, "resumed")
    active = await registry.transition(connection, tenant, "active")
    await _tell(connection, active, Resumed(active.id, active.slug))
    await audit.record(connection, by, "tenant.resume", tenant_id=tenant.id)
    return active


async def delete(connection: Connection, slug: str, by: By, *, days: int) -> Tenant:
    """Make a tenant unknown to its clients at once. It keeps its slug and data, and can be restored.

    If the tenant is deleted already, change nothing: it keeps the time until which it can be restored.

    Args:
        connection: in a transaction.
        slug: the tenant's slug.
        by: who deletes the tenant.
        days: how many days the tenant can be restored.

    Raises:
        UnknownTenantError: no tenant has the slug.
        WrongStateError: the tenant is being provisioned or purged now.
    """
    tenant = await lock(connection, slug, (LIVE - {"provisioning"}) | {"deleted"}, "deleted")
    if tenant.status == "deleted":
        return tenant
    purge_after = datetime.now(UTC) + timedelta(days=days)
    deleted = await registry.transition(connection, tenant, "deleted", purge_after=purge_after)
    await _tell(connection, deleted, Deleted(deleted.id, deleted.slug, purge_after))
    await audit.record(connection, by, "tenant.delete", tenant_id=tenant.id, purge_after=purge_after)
    return deleted


async def restore(connection: Connection, slug: str, by: By) -> Tenant:
    """Restore a deleted tenant to the state it was in before.

    A pending tenant gets a new command to provision it, because the first one was superseded if it arrived
    meanwhile. A failed tenant gets a new command unless it has one that is open or can be replayed.

    Raises:
        UnknownTenantError: no tenant has the slug.
        WrongStateError: the tenant is not deleted, or the time to restore it has passed.
    """
    tenant = await lock(connection, slug, {"deleted"}, "restored")
    if tenant.status_before is None or (tenant.purge_after and tenant.purge_after <= datetime.now(UTC)):
        raise WrongStateError(f"{tenant.slug} could be restored until {tenant.purge_after}")
    restored = await registry.transition(connection, tenant, tenant.status_before)
    event = await _tell(connection, restored, Restored(restored.id, restored.slug, restored.status))
    if restored.status == "pending" or (
        restored.status == "failed"
        and not await inbox.has_open_or_replayable(connection, restored.id, Provision.type)
    ):
        await registry.tell(
            connection, restored, Provision(tenant_id=restored.id), caused_by=event, priority=SIGN_UP
        )
    await audit.record(connection, by, "tenant.restore", tenant_id=tenant.id, status=restored.status)
    return restored


async def rename(
    connection: Connection, slug: str, by: By, *, new_slug: str | None = None, name: str | None = None
) -> Tenant:
    """Give a tenant another slug, another name or both. If it has both already, change nothing.

    Raises:
        UnknownTenantError: no tenant has the slug.
        WrongStateError: the tenant is deleted.
        InvalidNameError: the new slug or name cannot be used.
        TakenError: another tenant has the new slug.
    """
    tenant = await lock(connection, slug, LIVE, "renamed")
    to_slug = names.slug(new_slug) if new_slug is not None else tenant.slug
    to_name = names.line(name) if name is not None else tenant.name
    if (to_slug, to_name) == (tenant.slug, tenant.name):
        return tenant
    renamed = await registry.rename(connection, tenant, slug=to_slug, name=to_name)
    await _tell(connection, renamed, Renamed(renamed.id, renamed.slug, renamed.name, tenant.slug))
    before = {"slug_before": tenant.slug, "name_before": tenant.name}
    await audit.record(
        connection, by, "tenant.rename", tenant_id=tenant.id, slug=to_slug, name=to_name, **before
    )
    return renamed


async def migrate(
    connection: Connection, slug: str, by: By, lineage: Lineage, *, revision: str = "head"
) -> Message:
    """Write a command to migrate a tenant's schema to a revision, even if the schema is at it already.

    Args:
        connection: in a transaction.
        slug: the tenant's slug.
        by: who asks for the migration.
        lineage: the tenants' lineage.
        revision: ``head``, a revision or the beginning of one.

    Returns:
        The command.

    Raises:
        UnknownTenantError: no tenant has the slug.
        UnknownRevisionError: the lineage has no such revision.
        WrongStateError: the tenant is neither active nor suspended, or is newer than the revision.
    """
    target = lineage.resolve(revision)
    tenant = await lock(connection, slug, MIGRATABLE, "migrated")
    at = tenant.revision  # None: taken back to before the first
    if at is not None and (not lineage.knows(at) or at not in lineage.applied(target)):
        raise WrongStateError(
            f"{tenant.slug} is at {tenant.revision}, from which no upgrade leads to {target}"
        )
    touched = await registry.touch(connection, tenant)
    command = await registry.tell(connection, touched, Migrate(tenant_id=tenant.id, revision=target))
    await audit.record(
        connection, by, "tenant.migrate", tenant_id=tenant.id, revision=target, message_id=command.id
    )
    return command


async def _tell(connection: Connection, tenant: Tenant, event: Event) -> UUID:
    return (await registry.tell(connection, tenant, event)).id
