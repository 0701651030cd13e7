"""The fleet: listing and migrating all tenants, for operators."""

from typing import Final

import msgspec

from db import audit
from db.audit import By
from db.ledger import outbox, timeline
from db.ledger.contracts import Migrate
from db.ledger.envelope import Message
from db.ledger.timeline import Step
from db.migrations.lineage import Lineage
from db.names import Line
from db.session import filters
from db.session.connection import Connection
from db.tenants import hosts, keys, lists, registry
from db.tenants.keys import Key
from db.tenants.registry import Tenant
from db.tenants.states import MIGRATABLE, TenantStatus


class TenantFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which tenants to list. A field that is None does not narrow the list.

    Args:
        status: the tenants' status. Purged tenants are listed only if it is ``purged``.
        revision: a revision, or the beginning of one.
        q: text in the slug or the name; case does not matter.
    """

    status: TenantStatus | None = None
    revision: Line | None = None
    q: Line | None = None


class Belongings(msgspec.Struct, frozen=True):
    """A tenant's hosts, its keys without their secrets, and the newest steps of its timeline, oldest first."""

    hosts: list[str]
    keys: list[Key]
    timeline: list[Step]


_CONDITIONS: Final = {
    "status": "status = {}",
    "revision": "starts_with(revision, {})",
    "q": "(strpos(slug, lower({0})) > 0 OR strpos(lower(name), lower({0})) > 0)",
}


async def list_(
    connection: Connection,
    wanted: TenantFilter,
    *,
    limit: int | None = None,
    after: lists.Place | None = None,
) -> list[Tenant]:
    """Return tenants, in the order of their slugs.

    Args:
        connection: of a login that may read the registry.
        wanted: which tenants.
        limit: most tenants to return; all by default.
        after: slug and id of a tenant; return only tenants that follow it.
    """
    arguments: list[object] = []
    conditions = filters.conditions(wanted, _CONDITIONS, arguments)
    if wanted.status is None:
        conditions.append("status <> 'purged'")
    return await lists.list_(connection, conditions, arguments, limit=limit, after=after)


async def get_belongings(connection: Connection, tenant: Tenant) -> Belongings:
    """Return a tenant's hosts, keys and timeline."""
    return Belongings(
        hosts=await hosts.list_(connection, tenant.id),
        keys=await keys.list_(connection, tenant.id),
        timeline=await timeline.list_steps(connection, tenant.id),
    )


async def migrate(
    connection: Connection, by: By, lineage: Lineage, *, revision: str = "head"
) -> list[Message]:
    """Write a command to migrate for every tenant that is behind a revision and has no such command open.

    Args:
        connection: in a transaction, which locks all of these tenants.
        by: who asks for the migration.
        lineage: the tenants' lineage.
        revision: ``head``, a revision or the beginning of one.

    Returns:
        The commands, one for each tenant.

    Raises:
        UnknownRevisionError: the lineage has no such revision.
    """
    target = lineage.resolve(revision)
    older = sorted(lineage.applied(target) - {target})
    tenants = await registry.touch_behind(connection, MIGRATABLE, older, target)
    commands = [registry.about(tenant, Migrate(tenant_id=tenant.id, revision=target)) for tenant in tenants]
    await outbox.append(connection, commands)
    await audit.record(connection, by, "tenant.migrate_all", revision=target, count=len(commands))
    return commands
