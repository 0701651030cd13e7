"""The fleet: listing all tenants, for operators."""

from typing import Final

import msgspec

from db.ledger import timeline
from db.ledger.timeline import Step
from db.names import Line
from db.session import filters
from db.session.connection import Connection
from db.tenants import hosts, keys, lists
from db.tenants.keys import Key
from db.tenants.registry import Tenant
from db.tenants.states import TenantStatus


class TenantFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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


def conditions(wanted: TenantFilter, arguments: list[object]) -> list[str]:
    """Return the SQL conditions of a filter, whose values are added to ``arguments``."""
    return filters.conditions(wanted, _CONDITIONS, arguments)


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
    where = conditions(wanted, arguments)
    if wanted.status is None:
        where.append("status <> 'purged'")
    return await lists.list_(connection, where, arguments, limit=limit, after=after)


async def get_belongings(connection: Connection, tenant: Tenant) -> Belongings:
    """Return a tenant's hosts, keys and timeline."""
    return Belongings(
        hosts=await hosts.list_(connection, tenant.id),
        keys=await keys.list_(connection, tenant.id),
        timeline=await timeline.list_steps(connection, tenant.id),
    )
