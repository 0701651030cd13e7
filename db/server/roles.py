"""Creating, granting and dropping of tenants' roles and schemas, and of keepers.

Keepers create the tenants' roles. PostgreSQL 16 and later compute all memberships of a creator again at
each GRANT of a role that it administers, so with one creator the cost would grow with the number of tenants.
"""

from functools import partial
from typing import Final

from db.names import SchemaName, quoted, schema_name
from db.server import contention, installation
from db.server.installation import Installation
from db.session import locks
from db.session.connection import Connection, migration_path

KEEPER_CAPACITY: Final = 500
"""Most tenants' roles that one keeper administers."""

_LOAD = """
SELECT k.rolname AS keeper,
  (SELECT count(*) FROM pg_catalog.pg_auth_members m WHERE m.member = k.oid AND m.admin_option) AS roles
FROM pg_catalog.pg_roles k
WHERE k.rolname ~ $1 AND EXISTS (
  SELECT FROM pg_catalog.pg_auth_members o
  WHERE o.roleid = k.oid AND o.member = to_regrole($2) GROUP BY o.roleid
  HAVING bool_or(o.admin_option) AND bool_or(o.set_option))
ORDER BY k.rolname
"""
"""Keepers that the owner does not administer are another's, whatever their names."""

_NEXT = """
SELECT 1 + coalesce(max(substring(rolname FROM '[0-9]+$')::numeric), -1)
FROM pg_catalog.pg_roles WHERE rolname ~ $1
"""

_KEEPER_OF = """
SELECT k.rolname
FROM pg_catalog.pg_auth_members m
JOIN pg_catalog.pg_roles t ON t.oid = m.roleid
JOIN pg_catalog.pg_roles k ON k.oid = m.member
JOIN pg_catalog.pg_auth_members o ON o.roleid = k.oid AND o.member = to_regrole($3) AND o.set_option
WHERE t.rolname = $1 AND m.admin_option AND k.rolname ~ $2
"""


_PATHLESS = """
SELECT p.oid::regprocedure::text AS routine
FROM pg_catalog.pg_proc p
WHERE p.pronamespace = $1::regnamespace AND p.prokind IN ('f', 'p')
  AND NOT coalesce(p.proconfig @> ARRAY[$2], false)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d -- the constructors of a range type
    WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i')
"""


async def keeper(connection: Connection) -> str:
    """Return the name of a keeper with room for a tenant's role. If all are full, add one.

    Args:
        connection: of the owner, in a transaction.
    """
    return await _keeper(connection, await installation.of(connection))


async def _keeper(connection: Connection, ours: Installation) -> str:
    found = await _with_room(connection, ours)
    if found:
        return found
    await connection.execute(f"SELECT pg_advisory_xact_lock({locks.KEEPERS})")
    return await contention.retried(partial(_add_keeper, connection, ours))


async def _add_keeper(connection: Connection, ours: Installation) -> str:
    """Add a keeper within a savepoint, so that it can be tried again where another database's session did so too."""
    async with connection.transaction():
        found = await _with_room(connection, ours)  # another session may have added one meanwhile
        if found:
            return found
        name = ours.keeper(int(await connection.fetchval(_NEXT, ours.keepers)))
        await connection.execute(
            f"CREATE ROLE {quoted(name)} NOLOGIN NOINHERIT CREATEROLE;"
            f"GRANT {quoted(name)} TO {quoted(ours.owner)} WITH INHERIT FALSE, SET TRUE"
        )
    return name


async def _with_room(connection: Connection, ours: Installation) -> str | None:
    for row in await connection.fetch(_LOAD, ours.keepers, quoted(ours.owner)):
        if row["roles"] < KEEPER_CAPACITY:
            return str(row["keeper"])
    return None


async def keeper_of(connection: Connection, schema: SchemaName) -> str | None:
    """Return the keeper of this installation that administers a tenant's role, or None.

    Args:
        connection: of the owner.
        schema: the name of the role.
    """
    ours = await installation.of(connection)
    found = await connection.fetchval(_KEEPER_OF, schema, ours.keepers, quoted(ours.owner))
    return None if found is None else str(found)


async def create_schema(connection: Connection, schema: SchemaName) -> None:
    """Create a tenant's role and its empty schema.

    Args:
        connection: of the owner, in a transaction.
        schema: the name of the role and the schema.
    """
    name = quoted(schema_name(schema))
    ours = await installation.of(connection)
    await connection.execute(
        f"SET LOCAL ROLE {quoted(await _keeper(connection, ours))};"
        f"CREATE ROLE {name} NOLOGIN NOINHERIT;"
        f"GRANT {name} TO {quoted(ours.app)} WITH INHERIT FALSE, SET TRUE;"
        "SET LOCAL ROLE NONE;"
        f"CREATE SCHEMA {name}"
    )


async def restore(connection: Connection, schema: SchemaName) -> bool:
    """Make a tenant's role if there is none, and let the API's login set it.

    Args:
        connection: of the owner, in a transaction.
        schema: the name of the role and the schema.

    Returns:
        False if the role is there, but no keeper administers it.
    """
    name = quoted(schema_name(schema))
    ours = await installation.of(connection)
    exists = await connection.fetchval("SELECT to_regrole($1) IS NOT NULL", name)
    administrator = await keeper_of(connection, schema) if exists else await _keeper(connection, ours)
    if administrator is None:
        return False
    made = "" if exists else f"CREATE ROLE {name} NOLOGIN NOINHERIT;"
    await connection.execute(
        f"SET LOCAL ROLE {quoted(administrator)};{made}"
        f"GRANT {name} TO {quoted(ours.app)} WITH INHERIT FALSE, SET TRUE;"
        "SET LOCAL ROLE NONE"
    )
    return True


async def grant_schema(connection: Connection, schema: SchemaName) -> None:
    """Grant a tenant's role its rights, after each migration.

    The role can read and write the rows of all tables except ``alembic_version``. It cannot run DDL.

    A function's body is read where it is called, and the API has no path to the tenant's schema. So each
    function gets the path of the migrations that made it.

    Args:
        connection: of the owner, in a transaction.
        schema: the tenant's schema.
    """
    name = quoted(schema_name(schema))
    await connection.execute(
        f"REVOKE ALL ON ALL TABLES IN SCHEMA {name} FROM {name}, PUBLIC;"
        f"REVOKE ALL ON SCHEMA {name} FROM {name}, PUBLIC;"
        f"GRANT USAGE ON SCHEMA {name} TO {name};"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {name} TO {name};"
        f"REVOKE ALL ON {name}.alembic_version FROM {name}"
    )
    path = migration_path(schema)
    # PostgreSQL keeps the path without quotes that it does not need.
    routines = await connection.fetch(_PATHLESS, schema, f"search_path={path}".replace('"', ""))
    if routines:
        await connection.execute(
            "".join(f"ALTER ROUTINE {row['routine']} SET search_path TO {path};" for row in routines)
        )


async def drop_schema(connection: Connection, schema: SchemaName) -> None:
    """Drop a tenant's schema with all its objects, and then, as its keeper, the tenant's role.

    Nothing in a deployment does this yet: a deleted tenant keeps its schema.

    A schema or role that does not exist is skipped.

    Args:
        connection: of the owner, in a transaction.
        schema: the tenant's schema.
    """
    name = quoted(schema_name(schema))
    await connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")
    administrator = await keeper_of(connection, schema)
    if administrator:
        await connection.execute(
            f"SET LOCAL ROLE {quoted(administrator)};DROP ROLE {name};SET LOCAL ROLE NONE"
        )
