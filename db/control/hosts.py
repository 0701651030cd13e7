"""The hosts of a tenant, as operators add and remove them."""

from db import audit
from db.audit import By
from db.control import tenants
from db.session.connection import Connection
from db.tenants import hosts
from db.tenants.states import LIVE


async def add(connection: Connection, slug: str, by: By, host: str) -> None:
    """Lead a host name to a tenant; one that does already is left as it is.

    Args:
        connection: within a transaction.
        slug: the tenant's.
        by: who does it.
        host: as `names.host` returned it.

    Raises:
        UnknownTenantError: no tenant has the slug.
        WrongStateError: it is deleted.
        TakenError: the host leads to another tenant.
    """
    tenant = await tenants.lock(connection, slug, LIVE, "given a host")
    if await hosts.add(connection, tenant.id, host):
        await audit.record(connection, by, "host.add", tenant_id=tenant.id, host=host)


async def remove(connection: Connection, slug: str, by: By, host: str) -> bool:
    """Lead a host name nowhere again; return False if it did not lead to this tenant.

    Raises:
        UnknownTenantError: no tenant has the slug.
        WrongStateError: it is deleted.
    """
    tenant = await tenants.lock(connection, slug, LIVE, "rid of a host")
    removed = await hosts.remove(connection, tenant.id, host)
    if removed:
        await audit.record(connection, by, "host.remove", tenant_id=tenant.id, host=host)
    return removed
