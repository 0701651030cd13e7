"""Commands: write one for a new tenant, and read what a delivery of it left in the ledger."""

from uuid import UUID

import asyncpg

from db.tenants.registry import Tenant
from provisioner.attempt import Policy
from tests.support import one, signed_up

POLICY = Policy(attempts=8, retry_base=0.01, retry_cap=0.1, lock_timeout=1)


async def pending(owner: asyncpg.Connection, slug: str = "bakery") -> tuple[Tenant, UUID]:
    """Return a signed-up tenant and the id of its command."""
    async with owner.transaction():
        made = await signed_up(owner, slug)
    message_id = await owner.fetchval(
        "SELECT id FROM shared.messages WHERE tenant_id = $1 AND kind = 'command'", made.tenant.id
    )
    return made.tenant, message_id


async def message(owner: asyncpg.Connection, message_id: UUID) -> asyncpg.Record:
    """Return a message as the ledger has it."""
    return await one(owner, "SELECT * FROM shared.messages WHERE id = $1", message_id)


async def tenant_status(owner: asyncpg.Connection, tenant: Tenant) -> str:
    """Return a tenant's status as the registry has it."""
    return str(await owner.fetchval("SELECT status FROM shared.tenants WHERE id = $1", tenant.id))


async def events(owner: asyncpg.Connection, tenant: Tenant) -> list[str]:
    """Return the types of a tenant's events, oldest first."""
    rows = await owner.fetch(
        "SELECT type FROM shared.messages WHERE tenant_id = $1 AND kind = 'event' ORDER BY id", tenant.id
    )
    return [row["type"] for row in rows]
