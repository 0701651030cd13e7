"""Adding and removing a tenant's hosts, for operators."""

from db import audit
from db.audit import By
from db.control import tenants
from db.session.connection import Connection
from db.tenants import hosts
from db.tenants.states import LIVE


async def add(connection: Connection, slug: str, by: By, host: str) -> None:
    """Add a host to a tenant. If the tenant has the host already, change nothing.

    Args:
        connection: in a transaction.
        slug: the tenant's slug.
        by: who adds the host.
        host: a host name that `names.host` returned.

    Raises:
        UnknownTenantError: no tenant has the slug.
        WrongStateError: the tenant is deleted.
        TakenError: the host leads to another tenant.
    """
    tenant = await tenants.lock(connection, slug, LIVE, "given a host")
    if await hosts.add(connection, tenant.id, host):
        await audit.record(connection, by, "host.add", tenant_id=tenant.id, host=host)


async def remove(connection: Connection, slug: str, by: By, host: str) -> bool:
    """Remove a host from a tenant. Return False if the tenant did not have it.

    Raises:
        UnknownTenantError: no tenant has the slug.
        WrongStateError: the tenant is deleted.
    """
    tenant = await tenants.lock(connection, slug, LIVE, "rid of a host")
    removed = await hosts.remove(connection, tenant.id, host)
    if removed:
        await audit.record(connection, by, "host.remove", tenant_id=tenant.id, host=host)
    return removed
