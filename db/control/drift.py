"""Drift: comparing tenants' schemas with what their revisions say. It changes nothing, and takes no tenant's lock.

A schema that differs is looked at again, and counts only if nobody has worked on it meanwhile: half-way through a
migration, a schema is not what its revision says.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from db.migrations import fingerprint
from db.migrations.differences import describe
from db.migrations.structures import Structures
from db.session import locks
from db.session.connection import Connection
from db.tenants import lists
from db.tenants.registry import Tenant

BATCH: Final = 100
"""Tenants that are compared by one query."""

_CONDITIONS: Final = (
    "status NOT IN ('purging', 'purged')",
    "(revision IS NOT NULL OR to_regnamespace(schema_name) IS NOT NULL)",
)

# The two halves of the key of an advisory lock, as pg_locks has them.
_AT_REST: Final = f"""
SELECT t.id FROM shared.tenants t
WHERE t.id = ANY ($1::uuid[]) AND NOT EXISTS (
  SELECT FROM pg_catalog.pg_locks l
  WHERE l.locktype = 'advisory' AND l.objsubid = 1
    AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
    AND (l.classid::bigint << 32) | l.objid::bigint = {locks.tenant("t.id::text")})
"""


class Verdict(msgspec.Struct, frozen=True):
    """What was found of one tenant.

    Args:
        tenant: the tenant.
        differences: how its schema differs from its revision, in words; empty if it does not.
        unchecked: why it could not be compared, or None.
    """

    tenant: Tenant
    differences: list[str] = []
    unchecked: str | None = None


class Drift(msgspec.Struct, frozen=True):
    """A tenant whose schema is not what its revision says.

    ``differences`` name each object that differs, such as ``users.first_name: varchar(100) expected, text found``.
    """

    slug: str
    revision: str | None
    differences: list[str]


class Unchecked(msgspec.Struct, frozen=True):
    """A tenant that could not be compared with its revision now, and why."""

    slug: str
    revision: str | None
    reason: str


class Report(msgspec.Struct, frozen=True):
    """What was found of many tenants.

    Args:
        checked: how many were compared.
        drifted: those that differ.
        unchecked: those that could not be compared.
    """

    checked: int
    drifted: list[Drift]
    unchecked: list[Unchecked]


def summed(verdicts: Sequence[Verdict]) -> Report:
    """Return a report of verdicts, in their order."""
    return Report(
        checked=sum(each.unchecked is None for each in verdicts),
        drifted=[
            Drift(each.tenant.slug, each.tenant.revision, each.differences)
            for each in verdicts
            if each.differences
        ],
        unchecked=[
            Unchecked(each.tenant.slug, each.tenant.revision, each.unchecked)
            for each in verdicts
            if each.unchecked is not None
        ],
    )


async def list_(connection: Connection, *, limit: int, after: lists.Place | None = None) -> list[Tenant]:
    """Return tenants that have a schema, or should have one, in the order of their slugs.

    Args:
        connection: of a login that may read the registry.
        limit: most tenants to return.
        after: slug and id of a tenant; return only tenants that follow it.
    """
    return await lists.list_(connection, _CONDITIONS, (), limit=limit, after=after)


async def verify(connection: Connection, tenants: Sequence[Tenant], structures: Structures) -> list[Verdict]:
    """Compare tenants' schemas with the structures of their revisions.

    Args:
        connection: of the owner or of the API's login; not in a transaction if structures are to be built.
        tenants: the tenants, `BATCH` of them at most: they are one query.
        structures: what schemas should be.

    Returns:
        A verdict for each tenant, in the same order.
    """
    found = {verdict.tenant.id: verdict for verdict in await _compare(connection, tenants, structures)}
    suspects = [id_ for id_, verdict in found.items() if verdict.differences]
    if suspects:
        before = await _at_rest(connection, suspects)
        again = {
            verdict.tenant.id: verdict
            for verdict in await _compare(connection, list(before.values()), structures)
        }
        after = await _at_rest(connection, suspects)
        for id_ in suspects:
            if id_ in again and after.get(id_) == before[id_]:
                found[id_] = again[id_]
            else:
                found[id_] = Verdict(found[id_].tenant, unchecked="it is being worked on")
    return [found[tenant.id] for tenant in tenants]


async def verify_all(connection: Connection, structures: Structures) -> list[Verdict]:
    """Compare all tenants, in batches.

    Args:
        connection: as for `verify`.
        structures: what schemas should be.
    """
    found: list[Verdict] = []
    after: lists.Place | None = None
    while tenants := await list_(connection, limit=BATCH, after=after):
        found += await verify(connection, tenants, structures)
        after = (tenants[-1].slug, tenants[-1].id)
    return found


async def _at_rest(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Tenant]:
    """Return, by their ids, those tenants that nobody provisions, migrates or drops now."""
    rows = await connection.fetch(_AT_REST, ids)
    resting = [row["id"] for row in rows]
    tenants = await lists.list_(connection, (*_CONDITIONS, "id = ANY ($1::uuid[])"), (resting,))
    return {tenant.id: tenant for tenant in tenants}


async def _compare(
    connection: Connection, tenants: Sequence[Tenant], structures: Structures
) -> list[Verdict]:
    """Compare tenants as they are at this moment."""
    schemas = [tenant.schema_name for tenant in tenants]
    rows = await connection.fetch(
        "SELECT schema_name, revisions FROM shared.schema_revisions($1::text[])", schemas
    )
    stated = {row["schema_name"]: row["revisions"] or [] for row in rows}
    found = await fingerprint.structures(connection, schemas)
    return [
        await _judge(
            connection,
            tenant,
            stated.get(tenant.schema_name, []),
            found.get(tenant.schema_name),
            structures,
        )
        for tenant in tenants
    ]


async def _judge(
    connection: Connection,
    tenant: Tenant,
    stated: list[str],
    found: fingerprint.Structure | None,
    structures: Structures,
) -> Verdict:
    """Return the verdict on one tenant.

    Args:
        connection: the connection.
        tenant: the tenant.
        stated: what its ``alembic_version`` states.
        found: the structure of its schema, or None if there is no schema.
        structures: what schemas should be.
    """
    if found is None:
        if tenant.revision is None:
            return Verdict(tenant, unchecked="it has no schema yet")
        return Verdict(tenant, ["the schema is missing"])
    differences = []
    if stated != ([tenant.revision] if tenant.revision else []):
        said = ", ".join(stated) or "no revision"
        differences.append(f"alembic_version: {tenant.revision or 'no revision'} expected, {said} found")
    if tenant.revision is None:
        return Verdict(tenant, differences)
    if not structures.knows(tenant.revision):
        return Verdict(tenant, differences, f"this release does not know revision {tenant.revision}")
    expected = await structures.get(connection, tenant.revision)
    if expected is None:
        reason = (
            f"the structure of revision {tenant.revision} is not stored yet; provisioners do it once they run"
        )
        return Verdict(tenant, differences, reason)
    if found != expected:
        others = await structures.revisions_of(connection, found)
        if others:
            differences.append(
                f"revision: {tenant.revision} expected, the structure of {' or '.join(others)} found"
            )
        differences += describe(expected, found)
    return Verdict(tenant, differences)
