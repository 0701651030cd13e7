"""Creating, granting and dropping of tenants' roles and schemas, and of keepers.

Keepers create the tenants' roles. PostgreSQL 16 and later compute all memberships of a creator again at
each GRANT of a role that it administers, so with one creator the cost would grow with the number of tenants.
"""

from functools import partial
from typing import Final

from db.errors import TenantryError
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


# By way of pg_depend, which has an index for it. To look for a schema's relations in pg_class, as ALL TABLES IN SCHEMA
# does, is to look through those of all tenants.
_GRANTED = """
SELECT 'relation' AS kind, format('%I.%I', $1::text, c.relname) AS name
FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid
WHERE d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.refobjid = $1::regnamespace
  AND d.classid = 'pg_catalog.pg_class'::regclass AND d.objsubid = 0 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
UNION ALL
SELECT 'routine', p.oid::regprocedure::text
FROM pg_catalog.pg_depend m JOIN pg_catalog.pg_proc p ON p.oid = m.objid
WHERE m.refclassid = 'pg_catalog.pg_namespace'::regclass AND m.refobjid = $1::regnamespace
  AND m.classid = 'pg_catalog.pg_proc'::regclass AND p.prokind IN ('f', 'p')
  AND NOT coalesce(p.proconfig @> ARRAY[$2], false)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d -- the constructors of a range type
    WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i')
"""
"""A schema's relations, and those of its functions that have not the search path $2."""


class ForeignRoleError(TenantryError):
    """A tenant's role is none that a keeper of this installation administers."""


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
        await ours.execute(
            connection,
            (
                f"CREATE ROLE {quoted(name)} {ours.login} NOINHERIT CREATEROLE",
                f"GRANT {quoted(name)} TO {quoted(ours.owner)} WITH INHERIT FALSE, SET TRUE",
            ),
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


async def prepare_schema(connection: Connection, schema: SchemaName) -> None:
    """Commit what must be there before `create_schema`: the role on Citus, nothing elsewhere. Safe to repeat.

    Citus's nodes see a role once it is committed, and a keeper too. If no schema follows, upkeep drops the role.

    Args:
        connection: of the owner, not in a transaction.
        schema: the name of the role.

    Raises:
        ForeignRoleError: the role is there, but no keeper administers it.
    """
    if (await installation.of(connection)).citus:
        await contention.retried(partial(_prepare, connection, schema))


async def _prepare(connection: Connection, schema: SchemaName) -> None:
    async with connection.transaction():
        administrator = await keeper(connection)
    async with connection.transaction():
        if not await restore(connection, schema, administrator):
            raise _foreign(schema)


async def create_schema(connection: Connection, schema: SchemaName) -> None:
    """Create a tenant's role, unless it is there already, and its empty schema.

    Args:
        connection: of the owner, in a transaction.
        schema: the name of the role and the schema.

    Raises:
        ForeignRoleError: the role is there, but no keeper administers it.
    """
    name = quoted(schema_name(schema))
    ours = await installation.of(connection)
    if not await _exists(connection, schema):
        await ours.execute(connection, _creation(ours, schema, await _keeper(connection, ours)))
    elif await keeper_of(connection, schema) is None:
        raise _foreign(schema)
    await connection.execute(f"CREATE SCHEMA {name}")


async def restore(connection: Connection, schema: SchemaName, keeper: str | None = None) -> bool:
    """Make a tenant's role if there is none, and let the API's login set it.

    Args:
        connection: of the owner, in a transaction.
        schema: the name of the role and the schema.
        keeper: who shall administer a new role; if None, one with room.

    Returns:
        False if the role is there, but no keeper administers it.
    """
    ours = await installation.of(connection)
    if not await _exists(connection, schema):
        await ours.execute(connection, _creation(ours, schema, keeper or await _keeper(connection, ours)))
        return True
    administrator = await keeper_of(connection, schema)
    if administrator is None:
        return False
    await ours.execute(connection, _by(administrator, _membership(ours, schema)))
    return True


async def _exists(connection: Connection, schema: SchemaName) -> bool:
    return bool(await connection.fetchval("SELECT to_regrole($1) IS NOT NULL", quoted(schema)))


def _creation(ours: Installation, schema: SchemaName, administrator: str) -> tuple[str, ...]:
    """Return the statements that create a tenant's role, and let the API's login set it."""
    created = f"CREATE ROLE {quoted(schema_name(schema))} {ours.login} NOINHERIT"
    return _by(administrator, created, _membership(ours, schema))


def _membership(ours: Installation, schema: SchemaName) -> str:
    return f"GRANT {quoted(schema_name(schema))} TO {quoted(ours.app)} WITH INHERIT FALSE, SET TRUE"


def _by(administrator: str, *statements: str) -> tuple[str, ...]:
    """Return statements as those of a keeper."""
    return (f"SET LOCAL ROLE {quoted(administrator)}", *statements, "SET LOCAL ROLE NONE")


def _foreign(schema: SchemaName) -> ForeignRoleError:
    return ForeignRoleError(f"the role {schema} is there, and is not of this installation's keepers")


async def grant_schema(connection: Connection, schema: SchemaName, ours: Installation | None = None) -> None:
    """Grant a tenant's role its rights, after each migration.

    The role can read and write the rows of all tables except ``alembic_version``. It cannot run DDL.

    A function's body is read where it is called, and the API has no path to the tenant's schema. So each
    function gets the path of the migrations that made it.

    Args:
        connection: of the owner, in a transaction.
        schema: the tenant's schema.
        ours: the connection's installation, if it is known; it is asked for otherwise.
    """
    name = quoted(schema_name(schema))
    ours = ours or await installation.of(connection)
    path = migration_path(schema)
    # PostgreSQL keeps the path without quotes that it does not need.
    found = await connection.fetch(_GRANTED, schema, f"search_path={path}".replace('"', ""))
    relations = ", ".join(row["name"] for row in found if row["kind"] == "relation")
    await ours.execute(
        connection,
        (
            *([f"REVOKE ALL ON {relations} FROM {name}, PUBLIC"] if relations else []),
            f"REVOKE ALL ON SCHEMA {name} FROM {name}, PUBLIC",
            f"GRANT USAGE ON SCHEMA {name} TO {name}",
            *([f"GRANT SELECT, INSERT, UPDATE, DELETE ON {relations} TO {name}"] if relations else []),
            f"REVOKE ALL ON {name}.alembic_version FROM {name}",
            *(
                f"ALTER ROUTINE {row['name']} SET search_path TO {path}"
                for row in found
                if row["kind"] == "routine"
            ),
        ),
    )


async def drop_schema(connection: Connection, schema: SchemaName) -> None:
    """Drop a tenant's schema with all its objects, and the tenant's role; on Citus upkeep drops the role later.

    A schema or role that does not exist is skipped.

    Args:
        connection: of the owner, in a transaction.
        schema: the tenant's schema.
    """
    await connection.execute(f"DROP SCHEMA IF EXISTS {quoted(schema_name(schema))} CASCADE")
    if not (await installation.of(connection)).citus:  # whose nodes must see first that the schema is gone
        await drop_role(connection, schema)


async def drop_role(connection: Connection, schema: SchemaName) -> None:
    """Drop a tenant's role, as the keeper that administers it. A role without a keeper of ours is skipped.

    Args:
        connection: of the owner, in a transaction.
        schema: the name of the role.

    Raises:
        asyncpg.DependentObjectsStillExistError: the role has rights somewhere, such as in another database.
    """
    administrator = await keeper_of(connection, schema)
    if administrator is not None:
        ours = await installation.of(connection)
        await ours.execute(connection, _by(administrator, f"DROP ROLE {quoted(schema_name(schema))}"))
