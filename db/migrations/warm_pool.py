"""The warm pool: schemas that are built ahead of sign-ups, with role, tables and rights, and are no tenant's yet.

A schema and its row are made in one transaction, and taken in one. The row has the schema's imprint and fingerprint, so
that a schema which is not as it was built is never given to a tenant.
"""

from typing import Final

import structlog

from db.migrations.fingerprint import fingerprint
from db.migrations.imprint import imprint
from db.migrations.lineage import Lineage
from db.migrations.render import render
from db.migrations.run import run_script
from db.names import SchemaName, new_schema_name, schema_name
from db.server import installation, roles
from db.session import locks
from db.session.connection import Connection
from db.tenants import registry
from db.tenants.registry import Tenant

log = structlog.get_logger(__name__)

_TAKE: Final = """
DELETE FROM shared.pool_schemas WHERE schema_name = (
  SELECT schema_name FROM shared.pool_schemas WHERE revision = ANY($1::text[])
  ORDER BY revision = $2 DESC, created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING schema_name, revision, fingerprint, imprint
"""
_STALE: Final = """
SELECT schema_name, revision, fingerprint, imprint FROM shared.pool_schemas
WHERE revision = ANY($1::text[]) AND revision <> $2
ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED
"""
_OURS: Final = """
SELECT pg_get_userbyid(nspowner) = current_user AND to_regrole(nspname) IS NOT NULL
FROM pg_catalog.pg_namespace WHERE nspname = $1
"""
_SIGN_UPS_WAIT: Final = """
SELECT EXISTS (SELECT FROM shared.tenants WHERE status IN ('pending', 'provisioning'))
"""
_SIGN_UPS_COME: Final = """
SELECT (SELECT created_at FROM shared.tenants ORDER BY id DESC LIMIT 1) > now() - interval '1 second'
"""


async def claim(connection: Connection, tenant: Tenant, lineage: Lineage) -> tuple[Tenant, str] | None:
    """Give a tenant a schema of the pool; return the tenant with it, and the schema's revision.

    Args:
        connection: of the owner, in the transaction that provisions the tenant.
        tenant: the tenant, which has no schema yet.
        lineage: the tenants' lineage. Schemas at revisions that it does not have are left to other releases.

    Returns:
        None if the pool is empty: the schema is built on demand.
    """
    known = sorted(lineage.applied(lineage.head))
    while row := await connection.fetchrow(_TAKE, known, lineage.head):
        schema = schema_name(row["schema_name"])
        if await _is_as_built(connection, schema, row["fingerprint"], row["imprint"]):
            return await registry.give_schema(connection, tenant, schema), row["revision"]
        log.error("a schema of the pool was not as it was built, and is dropped", schema=schema)
        await roles.drop_schema(connection, schema)
    return None


async def refill(connection: Connection, lineage: Lineage, *, size: int) -> bool:
    """Add a schema to the pool, renew an old one or drop one that is too much. Return whether something was done.

    While tenants wait to be provisioned, nothing is added: they come first. Nor is anything just after a sign-up while
    there is half a pool, since to build one would slow down the next.

    Args:
        connection: of the owner, not in a transaction.
        lineage: the tenants' lineage.
        size: how many schemas there are to be; none on Citus, whose roles must be committed first.
    """
    async with connection.transaction():
        if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", locks.WARM_POOL):
            return False  # another provisioner is at it
        if (await installation.of(connection)).citus:
            size = 0
        known = sorted(lineage.applied(lineage.head))
        count = await connection.fetchval(
            "SELECT count(*) FROM shared.pool_schemas WHERE revision = ANY($1::text[])", known
        )
        if count > size:
            return await _drop(connection, known, lineage.head)
        if await is_awaited(connection) or (2 * count >= size and await connection.fetchval(_SIGN_UPS_COME)):
            return False
        if count < size:
            await _add(connection, lineage)
            return True
        return await _renew(connection, lineage, known)


async def is_awaited(connection: Connection) -> bool:
    """Return whether a tenant waits to be provisioned, so that nothing is to be made ahead now."""
    return bool(await connection.fetchval(_SIGN_UPS_WAIT))


async def _add(connection: Connection, lineage: Lineage) -> None:
    schema = new_schema_name()
    await roles.create_schema(connection, schema)
    await run_script(connection, schema, render(lineage, None, lineage.head))
    await _note(connection, schema, lineage.head)


async def _renew(connection: Connection, lineage: Lineage, known: list[str]) -> bool:
    row = await connection.fetchrow(_STALE, known, lineage.head)
    if row is None:
        return False
    schema = schema_name(row["schema_name"])
    if not await _is_as_built(connection, schema, row["fingerprint"], row["imprint"]):
        log.error("a schema of the pool was not as it was built, and is dropped", schema=schema)
        await connection.execute("DELETE FROM shared.pool_schemas WHERE schema_name = $1", schema)
        await roles.drop_schema(connection, schema)
        return True
    await run_script(connection, schema, render(lineage, row["revision"], lineage.head))
    await _note(connection, schema, lineage.head)
    return True


async def _drop(connection: Connection, known: list[str], head: str) -> bool:
    row = await connection.fetchrow(_TAKE, known, head)
    if row is None:
        return False
    await roles.drop_schema(connection, schema_name(row["schema_name"]))
    return True


async def _is_as_built(connection: Connection, schema: SchemaName, built: str, left: str | None) -> bool:
    """Return whether a schema is ours and as it was built. Where the catalog was written to, its fingerprint tells."""
    if not await connection.fetchval(_OURS, schema):
        return False
    return await imprint(connection, schema) == left or await fingerprint(connection, schema) == built


async def _note(connection: Connection, schema: SchemaName, revision: str) -> None:
    """Write down how a schema is, in the transaction that has made it so."""
    await connection.execute(
        """
        INSERT INTO shared.pool_schemas (schema_name, revision, fingerprint, imprint) VALUES ($1, $2, $3, $4)
        ON CONFLICT (schema_name) DO UPDATE
        SET revision = excluded.revision, fingerprint = excluded.fingerprint, imprint = excluded.imprint
        """,
        schema,
        revision,
        await fingerprint(connection, schema),
        await imprint(connection, schema),
    )
