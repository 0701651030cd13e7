"""Running migrations: the shared lineage under its lock, and a tenant's script in its transaction."""

from uuid import UUID

from db.errors import TenantryError
from db.migrations.lineage import Lineage
from db.migrations.render import Rendered, render
from db.names import SchemaName, quoted, schema_name
from db.server import rights, roles
from db.session import locks
from db.session.connection import Connection
from db.tenants import registry


class MigrationError(TenantryError):
    """A schema is not where the registry or the script takes it to be."""


async def current_revision(connection: Connection, schema: str) -> str | None:
    """Return the revision in a schema's ``alembic_version``; None where there is none."""
    table = f"{quoted(schema)}.alembic_version"
    if await connection.fetchval("SELECT to_regclass($1)", table) is None:
        return None
    rows = await connection.fetch(f"SELECT version_num FROM {table}")
    if len(rows) > 1:
        raise MigrationError(f"{table} has {len(rows)} rows")
    return rows[0]["version_num"] if rows else None


async def upgrade_shared(connection: Connection, lineage: Lineage, *, regrant: bool = False) -> str:
    """Bring ``shared`` to the newest revision; many starting at once do it once.

    Args:
        connection: the owner's, outside a transaction.
        lineage: the shared one.
        regrant: whether the API's login gets its rights anew even where there is nothing to migrate.

    Returns:
        The revision ``shared`` is at; one that this release does not know is left alone.
    """
    async with connection.transaction():
        await connection.execute(f"SELECT pg_advisory_xact_lock({locks.SHARED})")
        # Not IF NOT EXISTS alone: that would ask for CREATE on the database even where it is there.
        if await connection.fetchval("SELECT to_regnamespace('shared')") is None:
            await connection.execute("CREATE SCHEMA shared")
        current = await current_revision(connection, "shared")
        if current is not None and not lineage.knows(current):
            return current
        if current == lineage.head:
            if regrant:
                await rights.grant_shared(connection)
            return current
        await connection.execute("SET LOCAL search_path TO pg_catalog, pg_temp")
        await connection.execute(render(lineage, current, lineage.head).sql)
        await rights.grant_shared(connection)
    return lineage.head


async def upgrade_schema(connection: Connection, schema: SchemaName, script: Rendered) -> None:
    """Run a rendered script in a tenant's schema and grant its role what it made.

    Args:
        connection: the owner's, within the transaction that all of it shall be part of.
        schema: the tenant's.
        script: from where the schema is.

    Raises:
        MigrationError: the schema was not where the script starts.
        asyncpg.PostgresError: whatever a statement met.
    """
    before = await current_revision(connection, schema)
    if before != script.start:
        raise MigrationError(f"{schema} is at {before}, not at {script.start}")
    await connection.execute(
        f"SET LOCAL search_path TO {quoted(schema_name(schema))}, pg_temp;\n{script.sql}\n"
        "SET LOCAL search_path TO ''"
    )
    after = await current_revision(connection, schema)
    if after != script.end:
        raise MigrationError(f"{schema} is at {after}, not at {script.end}")
    await roles.grant_schema(connection, schema)


async def record_revision(
    connection: Connection, tenant_id: UUID, lineage: Lineage, revision: str | None
) -> None:
    """Write into the registry which revision a tenant's schema is at."""
    compatible_from = lineage.compatible_from(revision) if revision else None
    await registry.record_revision(connection, tenant_id, revision, compatible_from)
