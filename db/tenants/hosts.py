"""Hosts: the host names that lead to tenants, as ``names.host`` returns them."""

from uuid import UUID

from db.errors import TakenError
from db.session.connection import Connection


async def get_tenant(connection: Connection, host: str) -> UUID | None:
    """Return the id of the tenant that a host leads to, or None if it leads to no tenant."""
    return await connection.fetchval(  # type: ignore[no-any-return]
        "SELECT tenant_id FROM shared.tenant_hosts WHERE host = $1", host
    )


async def list_(connection: Connection, tenant_id: UUID) -> list[str]:
    """Return a tenant's hosts, in alphabetical order."""
    rows = await connection.fetch(
        "SELECT host FROM shared.tenant_hosts WHERE tenant_id = $1 ORDER BY host", tenant_id
    )
    return [row["host"] for row in rows]


async def add(connection: Connection, tenant_id: UUID, host: str) -> bool:
    """Add a host to a tenant, in the caller's transaction. Return False if the tenant has it already.

    Raises:
        TakenError: the host leads to another tenant.
    """
    added = await connection.fetchval(
        "INSERT INTO shared.tenant_hosts (host, tenant_id) VALUES ($1, $2)"
        " ON CONFLICT (host) DO NOTHING RETURNING host",
        host,
        tenant_id,
    )
    if added is None and await get_tenant(connection, host) != tenant_id:
        raise TakenError("host")
    return added is not None


async def remove(connection: Connection, tenant_id: UUID, host: str) -> bool:
    """Remove a host from a tenant, in the caller's transaction. Return False if the tenant did not have it."""
    removed = await connection.fetchval(
        "DELETE FROM shared.tenant_hosts WHERE host = $1 AND tenant_id = $2 RETURNING host", host, tenant_id
    )
    return removed is not None
