"""Tenants that lack their role or its rights, as after a dump was restored, and roles that lack their tenant.

A dump of a database has no roles.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import asyncpg
import msgspec

from db.names import quoted, schema_name
from db.server import contention, installation, roles
from db.server.ownership import BATCH
from db.session.connection import Connection

_NAMED: Final = 3
"""Most tenants that a message names."""


class Lack(msgspec.Struct, frozen=True):
    """What a tenant lacks, by its slug and schema."""

    slug: str
    schema: str
    problem: str


_LACKING: Final = """
SELECT t.slug, t.schema_name, CASE
  WHEN r.oid IS NULL THEN 'no role'
  WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_auth_members m
    WHERE m.roleid = r.oid AND m.member = to_regrole($1) AND m.set_option)
  THEN 'a role that the API''s login may not set'
  WHEN NOT has_schema_privilege(r.oid, n.oid, 'USAGE') THEN 'a role without USAGE on its schema'
  WHEN EXISTS (SELECT FROM pg_catalog.pg_class c
    WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p') AND c.relname <> 'alembic_version'
      AND NOT has_table_privilege(r.oid, c.oid, 'SELECT'))
  THEN 'a role without rights on its tables' END AS problem
FROM shared.tenants t
JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
LEFT JOIN pg_catalog.pg_roles r ON r.rolname = t.schema_name
WHERE t.status <> 'purged'
ORDER BY t.slug
"""


async def lacking(connection: Connection) -> list[Lack]:
    """Return the tenants with a schema whose role or rights are missing.

    Args:
        connection: of a login that may read ``shared.tenants``.
    """
    rows = await connection.fetch(_LACKING, quoted((await installation.of(connection)).app))
    return [Lack(row["slug"], row["schema_name"], row["problem"]) for row in rows if row["problem"]]


_HOMELESS: Final = """
SELECT t.slug FROM shared.tenants t
WHERE t.status IN ('active', 'suspended')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = t.schema_name)
ORDER BY t.slug
"""


async def homeless(connection: Connection) -> list[str]:
    """Return the slugs of tenants that should have a schema and have none. What was in it is lost here.

    Args:
        connection: of a login that may read ``shared.tenants``.
    """
    return [row["slug"] for row in await connection.fetch(_HOMELESS)]


def named(slugs: Sequence[str]) -> str:
    """Return the first few slugs, and how many more there are."""
    more = f" and {len(slugs) - _NAMED} more" if len(slugs) > _NAMED else ""
    return ", ".join(slugs[:_NAMED]) + more


async def mend(connection: Connection) -> int:
    """Make the missing roles, memberships and rights of tenants again; return how many tenants were mended.

    Args:
        connection: of the owner, not in a transaction.

    Raises:
        roles.ForeignRoleError: roles are there that no keeper of this installation administers. The others are mended.
    """
    found = await lacking(connection)
    stuck: list[str] = []
    for start in range(0, len(found), BATCH):
        batch = found[start : start + BATCH]
        stuck += await contention.retried(partial(_mend, connection, batch))
    if stuck:
        raise roles.ForeignRoleError(
            f"the roles of {named(stuck)} are not of this installation's keepers: somebody made them by hand, or"
            " they are another installation's. A superuser can drop those that own nothing; then run"
            " `litestar bootstrap` again"
        )
    return len(found)


async def _mend(connection: Connection, batch: Sequence[Lack]) -> list[str]:
    """Mend some tenants; return the slugs of those whose roles are not ours.

    Roles are committed before they get rights, and keepers before they make roles, as Citus's nodes need.
    """
    async with connection.transaction():
        keeper = await roles.keeper(connection)
    stuck, mended = [], []
    async with connection.transaction():
        for lack in batch:
            schema = schema_name(lack.schema)
            if await roles.restore(connection, schema, keeper):
                mended.append(schema)
            else:
                stuck.append(lack.slug)
    async with connection.transaction():
        for schema in mended:
            await roles.grant_schema(connection, schema)
    return stuck


_UNUSED: Final = """
SELECT t.id, t.schema_name FROM shared.tenants t JOIN pg_catalog.pg_roles r ON r.rolname = t.schema_name
WHERE t.status IN ('failed', 'deleted', 'purged')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = t.schema_name)
"""
_LOCK_UNUSED: Final = f"{_UNUSED} AND t.id = $1 FOR NO KEY UPDATE OF t SKIP LOCKED"


async def drop_unused(connection: Connection) -> int:
    """Drop the roles of tenants that have no schema, and that nobody provisions; return how many there were.

    A new attempt at provisioning makes the role again. Another database of the cluster may use a role still,
    as a copy of this one does; it stays.

    Args:
        connection: of the owner, not in a transaction.
    """
    dropped = 0
    for row in await connection.fetch(_UNUSED):
        with suppress(asyncpg.DependentObjectsStillExistError):
            dropped += await contention.retried(partial(_drop_if_unused, connection, row))
    return dropped


async def _drop_if_unused(connection: Connection, row: asyncpg.Record) -> bool:
    async with connection.transaction():
        if not await connection.fetchrow(_LOCK_UNUSED, row["id"]):
            return False
        await roles.drop_role(connection, schema_name(row["schema_name"]))
        return True


_REACHING: Final = """
WITH held AS (
  SELECT t.slug, r.oid AS role, n.oid AS schema FROM shared.tenants t
  JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
  JOIN pg_catalog.pg_roles r ON r.rolname = t.schema_name
  WHERE t.status <> 'purged'),
reaching AS (
  SELECT h.slug, m.member AS who FROM held h JOIN pg_catalog.pg_auth_members m ON m.roleid = h.role
  JOIN pg_catalog.pg_roles k ON k.oid = m.member
  WHERE NOT (m.admin_option AND k.rolname ~ $2)
  UNION SELECT h.slug, a.grantee FROM held h JOIN pg_catalog.pg_namespace n ON n.oid = h.schema
  CROSS JOIN aclexplode(n.nspacl) a WHERE a.grantee NOT IN (n.nspowner, h.role))
SELECT CASE who WHEN 0 THEN 'PUBLIC' ELSE who::regrole::text END AS name, array_agg(slug ORDER BY slug) AS slugs
FROM reaching WHERE who <> coalesce(to_regrole($1)::oid, 0) GROUP BY who ORDER BY 1
"""


async def reaching(connection: Connection) -> dict[str, list[str]]:
    """Return the roles that are not this installation's and reach its tenants, with the tenants' slugs.

    Args:
        connection: of a login that may read ``shared.tenants``.
    """
    ours = await installation.of(connection)
    rows = await connection.fetch(_REACHING, quoted(ours.app), ours.keepers)
    return {row["name"]: row["slugs"] for row in rows}
