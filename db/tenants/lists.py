"""Lists of tenants, in the order of their slugs."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from db.session.connection import Connection
from db.tenants.registry import COLUMNS, Tenant

Place = tuple[str, UUID]
"""A tenant's place in lists: its slug and id."""


async def list_(
    connection: Connection,
    conditions: Sequence[str],
    arguments: Sequence[Any],
    *,
    limit: int | None = None,
    after: Place | None = None,
) -> list[Tenant]:
    """Return tenants, in the order of their slugs.

    Args:
        connection: anybody's who may read the registry.
        conditions: SQL conditions that all of them fulfil.
        arguments: the conditions' values.
        limit: tenants at most; all, by default.
        after: slug and id of a tenant: only those that follow it.
    """
    where, values = list(conditions) or ["true"], [*arguments, limit]
    bound = f"${len(values)}"
    if after is not None:
        where.append(f"(slug, id) > (${len(values) + 1}, ${len(values) + 2})")
        values += after
    rows = await connection.fetch(
        f"SELECT {COLUMNS} FROM shared.tenants WHERE {' AND '.join(where)} ORDER BY slug, id LIMIT {bound}",
        *values,
    )
    return [Tenant.of(row) for row in rows]


async def list_with_schema(connection: Connection, slug: str | None = None) -> list[Tenant]:
    """Return the tenants that have a schema, in the order of their slugs.

    Args:
        connection: the owner's.
        slug: only the tenant that has it, if it is given.
    """
    rows = await connection.fetch(
        f"""
        SELECT {COLUMNS} FROM shared.tenants
        WHERE status <> 'purged' AND slug = coalesce($1, slug) AND to_regnamespace(schema_name) IS NOT NULL
        ORDER BY slug
        """,
        slug,
    )
    return [Tenant.of(row) for row in rows]


async def count_by_status(connection: Connection) -> dict[str, int]:
    """Return how many tenants are in each state; states without any are left out."""
    rows = await connection.fetch("SELECT status, count(*) AS count FROM shared.tenants GROUP BY status")
    return {row["status"]: row["count"] for row in rows}
