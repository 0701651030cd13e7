"""Messages: leave one parked, and list them as an operator does."""

from typing import Any

import asyncpg

from tests.support import Client, Tenant, requested

WHY = {"reason": "the disk was full"}


async def schema_of(owner: asyncpg.Connection, slug: str) -> str:
    """Return the name of a tenant's schema."""
    return str(await owner.fetchval("SELECT schema_name FROM shared.tenants WHERE slug = $1", slug))


async def blocked(api: Client, owner: asyncpg.Connection, slug: str) -> Tenant:
    """Sign a tenant up whose schema cannot be made, since its name is in use."""
    tenant = await requested(api, slug)
    await owner.execute(f"CREATE SCHEMA {await schema_of(owner, slug)}")
    return tenant


async def healed(owner: asyncpg.Connection, slug: str) -> None:
    """Take away what blocks a tenant."""
    await owner.execute(f"DROP SCHEMA {await schema_of(owner, slug)}")


async def listed(api: Client, as_operator: dict[str, str], **filters: str) -> list[dict[str, Any]]:
    """Return the first page of the messages that the control center lists under these filters."""
    answer = await api.get("/cc/messages", headers=as_operator, params=filters)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def parked(api: Client, as_operator: dict[str, str]) -> str:
    """Return the id of the only parked message."""
    (message,) = await listed(api, as_operator, status="parked")
    return str(message["id"])
