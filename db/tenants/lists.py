"""Lists of tenants, in the order of their slugs."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from db.session.connection import Connection
from db.tenants.registry import COLUMNS, Tenant

Place = tuple[str, UUID]
"""A tenant's place in a list: its slug and id."""


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
        connection: of a login that may read the registry.
        conditions: SQL conditions that the tenants must fulfil.
        arguments: the conditions' values.
        limit: most tenants to return; all by default.
        after: the place of a tenant; return only tenants that follow it.
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
        connection: of the owner.
        slug: if given, return only the tenant with this slug.
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
    """Return the number of tenants in each state. States without tenants are left out."""
    rows = await connection.fetch("SELECT status, count(*) AS count FROM shared.tenants GROUP BY status")
    return {row["status"]: row["count"] for row in rows}


class AtRevision(msgspec.Struct, frozen=True):
    """How many active tenants are at a revision; None is before the first one."""

    revision: str | None
    compatible_from: str | None
    count: int


async def count_by_revision(connection: Connection) -> list[AtRevision]:
    """Return the number of active tenants at each revision."""
    rows = await connection.fetch(
        "SELECT revision, compatible_from, count(*) AS count FROM shared.tenants"
        " WHERE status = 'active' GROUP BY revision, compatible_from ORDER BY revision, compatible_from"
    )
    return [AtRevision(**dict(row)) for row in rows]
