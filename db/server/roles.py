"""Creating, granting and dropping of tenants' roles and schemas, and of keepers.

Keepers create the tenants' roles. PostgreSQL 16 and later compute all memberships of a creator again at
each GRANT of a role that it administers, so with one creator the cost would grow with the number of tenants.
"""

from typing import Final

from db.names import SchemaName, quoted, schema_name
from db.server.rights import APP, OWNER
from db.session import locks
from db.session.connection import Connection, migration_path

KEEPER_CAPACITY: Final = 500
"""Most tenants' roles that one keeper administers."""

_LOAD = """
SELECT k.rolname AS keeper, count(m.roleid) AS roles
FROM pg_catalog.pg_roles k
LEFT JOIN pg_catalog.pg_auth_members m ON m.member = k.oid AND m.admin_option
WHERE k.rolname ~ '^tenantry_keeper_[0-9]{2,}$'
GROUP BY k.rolname ORDER BY k.rolname
"""

_KEEPER_OF = """
SELECT k.rolname
FROM pg_catalog.pg_auth_members m
JOIN pg_catalog.pg_roles t ON t.oid = m.roleid
JOIN pg_catalog.pg_roles k ON k.oid = m.member
WHERE t.rolname = $1 AND m.admin_option AND k.rolname ~ '^tenantry_keeper_[0-9]{2,}$'
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
    found = await _with_room(connection)
    if found:
        return found
    await connection.execute(f"SELECT pg_advisory_xact_lock({locks.KEEPERS})")
    found = await _with_room(connection)  # another session may have added one before it released the lock
    if found:
        return found
    name = f"tenantry_keeper_{len(await connection.fetch(_LOAD)):02d}"
    await connection.execute(
        f"CREATE ROLE {quoted(name)} NOLOGIN NOINHERIT CREATEROLE;"
        f"GRANT {quoted(name)} TO {quoted(OWNER)} WITH INHERIT FALSE, SET TRUE"
    )
    return name


async def _with_room(connection: Connection) -> str | None:
    for row in await connection.fetch(_LOAD):
        if row["roles"] < KEEPER_CAPACITY:
            return str(row["keeper"])
    return None


async def create_schema(connection: Connection, schema: SchemaName) -> None:
    """Create a tenant's role and its empty schema.

    Args:
        connection: of the owner, in a transaction.
        schema: the name of the role and the schema.
    """
    name = quoted(schema_name(schema))
    await connection.execute(
        f"SET LOCAL ROLE {quoted(await keeper(connection))};"
        f"CREATE ROLE {name} NOLOGIN NOINHERIT;"
        f"GRANT {name} TO {quoted(APP)} WITH INHERIT FALSE, SET TRUE;"
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
    exists = await connection.fetchval("SELECT to_regrole($1) IS NOT NULL", name)
    administrator = await connection.fetchval(_KEEPER_OF, schema) if exists else await keeper(connection)
    if administrator is None:
        return False
    made = "" if exists else f"CREATE ROLE {name} NOLOGIN NOINHERIT;"
    await connection.execute(
        f"SET LOCAL ROLE {quoted(administrator)};{made}"
        f"GRANT {name} TO {quoted(APP)} WITH INHERIT FALSE, SET TRUE;"
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
    administrator = await connection.fetchval(_KEEPER_OF, schema)
    if administrator:
        await connection.execute(
            f"SET LOCAL ROLE {quoted(administrator)};DROP ROLE {name};SET LOCAL ROLE NONE"
        )
