"""What operators do to a tenant: each act in its caller's transaction, under the lock of the tenant's row.

An act moves the tenant to its next state, writes the event that tells of it, and its entry in the audit
log; API and shell call the same ones. Only the acts here know from which state each is meant to start:
the registry's transitions alone would let a resume end a restore's waiting, or a sign-up's.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg

from db import audit, names, permissions, registry, signup, tokens
from db.audit import By
from db.connection import Connection
from db.contracts import SIGN_UP, Deleted, Event, Provision, Renamed, Restored, Resumed, Suspended
from db.permissions import Permission
from db.registry import Status, Tenant
from db.tokens import Token


class UnknownTenant(LookupError):  # noqa: N818 - reads as what was met
    """No tenant holds this slug."""

    def __init__(self, slug: str) -> None:
        super().__init__(f"there is no tenant {slug!r}")


class WrongState(Exception):  # noqa: N818 - reads as what was met
    """The tenant is not in a state that allows this; the message says what keeps it."""


LIVE: Final[frozenset[Status]] = frozenset({"pending", "provisioning", "active", "failed", "suspended"})
"""States of a tenant that is there for its clients, or will be."""


async def suspend(connection: Connection, slug: str, by: By) -> Tenant:
    """Refuse an active tenant's requests until it is resumed.

    Raises:
        UnknownTenant: nobody holds the slug.
        WrongState: it is not active.
    """
    tenant = await locked(connection, slug, {"active"}, "suspended")
    suspended = await registry.transition(connection, tenant, "suspended")
    await _told(connection, suspended, Suspended(suspended.id, suspended.slug))
    await note(connection, suspended, "tenant.suspend", by)
    return suspended


async def resume(connection: Connection, slug: str, by: By) -> Tenant:
    """Serve a suspended tenant again.

    Raises:
        UnknownTenant: nobody holds the slug.
        WrongState: it is not suspended.
    """
    tenant = await locked(connection, slug, {"suspended"}, "resumed")
    active = await registry.transition(connection, tenant, "active")
    await _told(connection, active, Resumed(active.id, active.slug))
    await note(connection, active, "tenant.resume", by)
    return active


async def delete(connection: Connection, slug: str, by: By, *, days: int) -> Tenant:
    """Make a tenant unknown to its clients at once; it keeps slug and data, and can be restored.

    Args:
        connection: within a transaction.
        slug: the tenant's.
        by: who deletes it.
        days: for how long it can be restored.

    Raises:
        UnknownTenant: nobody holds the slug.
        WrongState: it is being provisioned at this moment, or is deleted already.
    """
    tenant = await locked(connection, slug, LIVE - {"provisioning"}, "deleted")
    purge_after = datetime.now(UTC) + timedelta(days=days)
    deleted = await registry.transition(connection, tenant, "deleted", purge_after=purge_after)
    await _told(connection, deleted, Deleted(deleted.id, deleted.slug, purge_after))
    await note(connection, deleted, "tenant.delete", by, purge_after=purge_after)
    return deleted


async def restore(connection: Connection, slug: str, by: By) -> Tenant:
    """Make a deleted tenant what it was before.

    Its sign-up's command was superseded if it arrived meanwhile, so a tenant that was waiting to be
    provisioned gets a fresh one; a failed one does too unless its parked command can still be replayed.

    Raises:
        UnknownTenant: nobody holds the slug.
        WrongState: it is not deleted, or its time to be restored has passed.
    """
    tenant = await locked(connection, slug, {"deleted"}, "restored")
    if tenant.status_before is None or (tenant.purge_after and tenant.purge_after <= datetime.now(UTC)):
        raise WrongState(f"{tenant.slug} could be restored until {tenant.purge_after}")
    restored = await registry.transition(connection, tenant, tenant.status_before)
    event = await _told(connection, restored, Restored(restored.id, restored.slug, restored.status))
    if restored.status == "pending" or (
        restored.status == "failed" and not await _replayable(connection, restored)
    ):
        await registry.tell(
            connection, restored, Provision(tenant_id=restored.id), caused_by=event, priority=SIGN_UP
        )
    await note(connection, restored, "tenant.restore", by, status=restored.status)
    return restored


async def rename(
    connection: Connection, slug: str, by: By, *, new_slug: str | None = None, name: str | None = None
) -> Tenant:
    """Give a tenant another slug, another name or both; what it is called already changes nothing.

    Raises:
        UnknownTenant: nobody holds the slug.
        WrongState: it is deleted.
        NameRefused: the new slug cannot be used.
        Taken: the new slug is somebody's.
    """
    tenant = await locked(connection, slug, LIVE, "renamed")
    to_slug = names.slug(new_slug) if new_slug is not None else tenant.slug
    to_name = name if name is not None else tenant.name
    if (to_slug, to_name) == (tenant.slug, tenant.name):
        return tenant
    try:
        renamed = await registry.rename(connection, tenant, slug=to_slug, name=to_name)
    except asyncpg.UniqueViolationError as error:
        raise signup.Taken("slug") from error
    await _told(connection, renamed, Renamed(renamed.id, renamed.slug, renamed.name, tenant.slug))
    before = {"slug_before": tenant.slug, "name_before": tenant.name}
    await note(connection, renamed, "tenant.rename", by, slug=to_slug, name=to_name, **before)
    return renamed


async def issue_key(
    connection: Connection,
    slug: str,
    by: By,
    *,
    name: str,
    scopes: Sequence[Permission] = permissions.ALL,
    expires_at: datetime | None = None,
) -> Token:
    """Make a key of a tenant's, to be shown this once.

    Args:
        connection: within a transaction.
        slug: the tenant's.
        by: who makes it.
        name: what it is for.
        scopes: what it permits.
        expires_at: when it ends; never, by default.

    Raises:
        UnknownTenant: nobody holds the slug.
        WrongState: it is deleted.
    """
    tenant = await locked(connection, slug, LIVE, "given a key")
    key = tokens.mint("tenant")
    await tokens.store(connection, key, name=name, tenant_id=tenant.id, scopes=scopes, expires_at=expires_at)
    await note(connection, tenant, "key.create", by, key=key.id, name=name, scopes=list(scopes))
    return key


async def add_host(connection: Connection, slug: str, by: By, host: str) -> None:
    """Lead a host name to a tenant; one that does already is left as it is.

    Args:
        connection: within a transaction.
        slug: the tenant's.
        by: who does it.
        host: as `names.host` returned it.

    Raises:
        UnknownTenant: nobody holds the slug.
        WrongState: it is deleted.
        Taken: the host leads to another tenant.
    """
    tenant = await locked(connection, slug, LIVE, "given a host")
    added = await connection.fetchval(
        "INSERT INTO shared.tenant_hosts (host, tenant_id) VALUES ($1, $2)"
        " ON CONFLICT (host) DO NOTHING RETURNING host",
        host,
        tenant.id,
    )
    if added is not None:
        await note(connection, tenant, "host.add", by, host=host)
        return
    holder = await connection.fetchval("SELECT tenant_id FROM shared.tenant_hosts WHERE host = $1", host)
    if holder != tenant.id:
        raise signup.Taken("host")


async def remove_host(connection: Connection, slug: str, by: By, host: str) -> bool:
    """Lead a host name nowhere again; false where it did not lead to this tenant.

    Raises:
        UnknownTenant: nobody holds the slug.
        WrongState: it is deleted.
    """
    tenant = await locked(connection, slug, LIVE, "rid of a host")
    removed = await connection.fetchval(
        "DELETE FROM shared.tenant_hosts WHERE host = $1 AND tenant_id = $2 RETURNING host", host, tenant.id
    )
    if removed is None:
        return False
    await note(connection, tenant, "host.remove", by, host=host)
    return True


async def locked(
    connection: Connection, slug: str, allowed: frozenset[Status] | set[Status], what: str
) -> Tenant:
    """Return the tenant that holds ``slug``, its row locked for the transaction.

    Args:
        connection: within a transaction.
        slug: the tenant's.
        allowed: the states it may be in.
        what: what is to be done to it, for the message.

    Raises:
        UnknownTenant: nobody holds the slug.
        WrongState: it is in another state.
    """
    tenant = await registry.lock_named(connection, slug)
    if tenant is None:
        raise UnknownTenant(slug)
    if tenant.status not in allowed:
        raise WrongState(f"{tenant.slug} is {tenant.status}, and cannot be {what}")
    return tenant


async def note(connection: Connection, tenant: Tenant, action: str, by: By, **detail: Any) -> None:
    """Write an act on a tenant into the audit log."""
    await audit.record(
        connection,
        actor=by.actor,
        action=action,
        tenant_id=tenant.id,
        request_id=by.request_id,
        detail={**({"reason": by.reason} if by.reason else {}), **detail},
    )


async def _told(connection: Connection, tenant: Tenant, event: Event) -> Any:
    return (await registry.tell(connection, tenant, event)).id


async def _replayable(connection: Connection, tenant: Tenant) -> bool:
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT FROM shared.messages WHERE tenant_id = $1 AND type = 'tenant.provision'"
            " AND status IN ('pending', 'published', 'parked', 'archived'))",
            tenant.id,
        )
    )
