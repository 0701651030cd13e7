"""What operators do to a tenant. Each act is in its caller's transaction, under the lock of the tenant's row.

An act moves the tenant to its next state, writes the event that tells of it, and its entry in the audit
log; HTTP and shell call the same ones. Only the acts here know from which state each is meant to start:
the registry's transitions alone would let a resume end a restore's waiting, or a sign-up's.
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


async def get(connection: Connection, slug: str) -> Tenant:
    """Return the tenant that has ``slug`` now.

    Raises:
        UnknownTenantError: no tenant has the slug.
    """
    tenant = await registry.get_named(connection, slug)
    if tenant is None:
        raise UnknownTenantError(slug)
    return tenant


async def lock(connection: Connection, slug: str, allowed: Collection[TenantStatus], act: str) -> Tenant:
    """Return the tenant that has ``slug`` now, its row locked for the transaction.

    Args:
        connection: within a transaction.
        slug: the tenant's.
        allowed: the states it may be in.
        act: what is to be done to it, such as ``suspended``, for the error's words.

    Raises:
        UnknownTenantError: no tenant has the slug.
        WrongStateError: it is in another state.
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
        WrongStateError: it is not active.
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
        WrongStateError: it is not suspended.
    """
    tenant = await lock(connection, slug, {"suspended"}, "resumed")
    active = await registry.transition(connection, tenant, "active")
    await _tell(connection, active, Resumed(active.id, active.slug))
    await audit.record(connection, by, "tenant.resume", tenant_id=tenant.id)
    return active


async def delete(connection: Connection, slug: str, by: By, *, days: int) -> Tenant:
    """Make a tenant unknown to its clients at once; it keeps slug and data, and can be restored.

    Args:
        connection: within a transaction.
        slug: the tenant's.
        by: who deletes it.
        days: for how long it can be restored.

    Raises:
        UnknownTenantError: no tenant has the slug.
        WrongStateError: it is being provisioned at this moment, or is deleted already.
    """
    tenant = await lock(connection, slug, LIVE - {"provisioning"}, "deleted")
    purge_after = datetime.now(UTC) + timedelta(days=days)
    deleted = await registry.transition(connection, tenant, "deleted", purge_after=purge_after)
    await _tell(connection, deleted, Deleted(deleted.id, deleted.slug, purge_after))
    await audit.record(connection, by, "tenant.delete", tenant_id=tenant.id, purge_after=purge_after)
    return deleted


async def restore(connection: Connection, slug: str, by: By) -> Tenant:
    """Make a deleted tenant what it was before.

    Its sign-up's command was superseded if it arrived meanwhile, so a tenant that was waiting to be
    provisioned gets a fresh one; a failed one does too unless its parked command can still be replayed.

    Raises:
        UnknownTenantError: no tenant has the slug.
        WrongStateError: it is not deleted, or its time to be restored has passed.
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
    """Give a tenant another slug, another name or both; what it is called already changes nothing.

    Raises:
        UnknownTenantError: no tenant has the slug.
        WrongStateError: it is deleted.
        InvalidNameError: the new slug cannot be used.
        TakenError: another tenant has the new slug.
    """
    tenant = await lock(connection, slug, LIVE, "renamed")
    to_slug = names.slug(new_slug) if new_slug is not None else tenant.slug
    to_name = name if name is not None else tenant.name
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
    """Ask for a tenant's schema to be brought to a revision; if it is there already, nothing will happen.

    Args:
        connection: within a transaction.
        slug: the tenant's.
        by: who asks.
        lineage: the tenants' revisions.
        revision: ``head``, a revision or the beginning of one.

    Returns:
        The command.

    Raises:
        UnknownTenantError: no tenant has the slug.
        UnknownRevisionError: the lineage has no such revision.
        WrongStateError: it has no schema, is deleted, or is newer than the revision.
    """
    target = lineage.resolve(revision)
    tenant = await lock(connection, slug, MIGRATABLE, "migrated")
    if tenant.revision is None:
        raise WrongStateError(f"{tenant.slug} has no schema")
    if not lineage.knows(tenant.revision) or lineage.position(tenant.revision) > lineage.position(target):
        raise WrongStateError(f"{tenant.slug} is at {tenant.revision}, which is newer than {target}")
    touched = await registry.touch(connection, tenant)
    command = await registry.tell(connection, touched, Migrate(tenant_id=tenant.id, revision=target))
    await audit.record(
        connection, by, "tenant.migrate", tenant_id=tenant.id, revision=target, message_id=command.id
    )
    return command


async def _tell(connection: Connection, tenant: Tenant, event: Event) -> UUID:
    return (await registry.tell(connection, tenant, event)).id
