"""Running scripts: of ``shared`` under its lock, and of a tenant's schema in a transaction."""

from uuid import UUID

from db.errors import TenantryError
from db.migrations.lineage import Lineage
from db.migrations.render import Rendered, render
from db.names import SchemaName, quoted, schema_name
from db.server import installation, rights, roles
from db.server.installation import Installation
from db.session import locks
from db.session.connection import Connection, migration_path
from db.tenants import registry


class MigrationError(TenantryError):
    """A schema is not at the expected revision, or its tenant is not in the registry."""


async def current_revision(connection: Connection, schema: str) -> str | None:
    """Return the revision in a schema's ``alembic_version``, or None if there is none.

    Raises:
        MigrationError: the table has more than one row.
    """
    table = f"{quoted(schema)}.alembic_version"
    if await connection.fetchval("SELECT to_regclass($1) IS NULL", table):
        return None
    return await _stated(connection, table)


async def _stated(connection: Connection, table: str) -> str | None:
    """Return the revision in a version table, or None if it is empty.

    By COPY, which is one simple message: a prepared statement would be another one for each schema.
    """
    told = bytearray()

    async def take(data: bytes) -> None:
        told.extend(data)

    await connection.copy_from_query(f"SELECT version_num FROM {table} ORDER BY 1", output=take)
    found = [line for line in told.decode().split("\n") if line]
    if len(found) > 1:
        raise MigrationError(
            f"{table} has {len(found)} rows ({', '.join(found)}): leave the one that is true"
        )
    return found[0] if found else None


async def upgrade_shared(
    connection: Connection, lineage: Lineage, *, lock_timeout: float, regrant: bool = False
) -> str:
    """Bring ``shared`` to the newest revision. If several processes do this at once, one of them migrates.

    If ``shared`` is at a revision that this release does not know, change nothing.

    Args:
        connection: of the owner, not in a transaction.
        lineage: the shared lineage.
        lock_timeout: most seconds that a statement waits for a table's lock, as requests wait behind it.
        regrant: whether to grant the API's login its rights again even if there is nothing to migrate.

    Returns:
        The revision of ``shared``.

    Raises:
        asyncpg.LockNotAvailableError: a table was in use for too long; nothing was changed.
    """
    async with connection.transaction():
        await connection.execute(f"SELECT pg_advisory_xact_lock({locks.SHARED})")
        # IF NOT EXISTS would need CREATE on the database even if the schema exists.
        if await connection.fetchval("SELECT to_regnamespace('shared')") is None:
            ours = await installation.of(connection)
            await ours.execute(connection, ours.unsharded("shared"))
        current = await current_revision(connection, "shared")
        if current is not None and not lineage.knows(current):
            return current
        await connection.execute(f"SET LOCAL lock_timeout = {round(lock_timeout * 1000)}")
        if current != lineage.head:
            await run_shared(connection, render(lineage, current, lineage.head))
        elif regrant:
            await rights.grant_shared(connection)
    return lineage.head


async def run_shared(connection: Connection, script: Rendered) -> None:
    """Run a script of the shared lineage, and grant the API's login its rights.

    Args:
        connection: of the owner, in a transaction that holds the lineage's lock.
        script: the script, which must start at the revision of ``shared``.
    """
    await _run(connection, "pg_catalog, pg_temp", script, await installation.of(connection))
    await rights.grant_shared(connection)


async def run_script(connection: Connection, schema: SchemaName, script: Rendered) -> None:
    """Run a script in a tenant's schema, and grant the tenant's role its rights.

    Args:
        connection: of the owner, in a transaction.
        schema: the tenant's schema.
        script: the script, which must start at the schema's revision.

    Raises:
        MigrationError: the schema is not at the script's start, or did not reach its end.
        asyncpg.PostgresError: a statement failed.
    """
    before = await current_revision(connection, schema)
    if before != script.start:
        raise MigrationError(f"{schema} is at {before}, not at {script.start}")
    await run_on(connection, schema, script, await installation.of(connection))


async def run_on(connection: Connection, schema: SchemaName, script: Rendered, ours: Installation) -> None:
    """Run a script in a tenant's schema that is known to be at the script's start, as `run_script` does.

    Args:
        connection: of the owner, in a transaction that holds the tenant's lock.
        schema: the tenant's schema.
        script: the script.
        ours: the connection's installation.

    Raises:
        MigrationError: the schema did not reach the script's end.
        asyncpg.PostgresError: a statement failed.
    """
    await _run(connection, migration_path(schema_name(schema)), script, ours)
    after = await _stated(connection, f"{quoted(schema)}.alembic_version")
    if after != script.end:
        raise MigrationError(f"{schema} is at {after}, not at {script.end}")
    await roles.grant_schema(connection, schema, ours)


async def _run(connection: Connection, path: str, script: Rendered, ours: Installation) -> None:
    statements = (statement.sql for statement in script.statements)
    await ours.execute(
        connection, (f"SET LOCAL search_path TO {path}", *statements, "SET LOCAL search_path TO ''")
    )


async def record_revision(
    connection: Connection, tenant_id: UUID, lineage: Lineage, revision: str | None
) -> None:
    """Record the revision of a tenant's schema in the registry. None means before the first revision."""
    compatible_from = lineage.compatible_from(revision) if revision else None
    await registry.record_revision(connection, tenant_id, revision, compatible_from)
