"""Hardening: what a superuser takes from PUBLIC, so that an injected statement cannot leave its tenant.

Rights on schemas keep a tenant's role in its own schema. They do not stop a SELECT that changes its role,
runs text as SQL, or uses what belongs to the whole server. Each item says what it would allow. `missing`
finds the items that are not in force; ``litestar doctor`` prints them.
"""

from typing import Final

import msgspec

from db.names import literal, quoted
from db.server.installation import Installation
from db.session.connection import Connection


class Item(msgspec.Struct, frozen=True):
    """Functions that PUBLIC must not execute.

    Args:
        name: the item's name in the output of ``litestar doctor``.
        allows: what an attacker could do with the functions.
        functions: a regular expression on the names of functions in ``pg_catalog``.
        app: whether the API's login needs the functions; the tenants' roles never do.
        owner: whether the owner needs the functions.
    """

    name: str
    allows: str
    functions: str
    app: bool = False
    owner: bool = False


FUNCTIONS: Final = (
    Item(
        "set_config",
        "one injected SELECT changes to another tenant's role, or lifts its time-outs",
        "set_config",
        app=True,
        owner=True,
    ),
    Item(
        "functions that run SQL text (XML)",
        "an injected expression runs whole statements",
        "(query|cursor|table|schema|database)_to_xml(schema)?(_and_xmlschema)?",
    ),
    Item(
        "functions that run SQL text (text search)",
        "an injected expression runs whole statements",
        "ts_stat|ts_rewrite",
    ),
    Item(
        "pg_notify", "one tenant sends notifications, with text, to every session that listens", "pg_notify"
    ),
    Item(
        "advisory locks",
        "one tenant takes the lock of another's migration, and blocks it for ever",
        "pg_(try_)?advisory_.*",
        owner=True,
    ),
    Item(
        "advisory unlock of all",
        "nothing by itself; connection pools need it to reset a connection",
        "pg_advisory_unlock_all",
        app=True,
        owner=True,
    ),
    Item(
        "large objects",
        "tenants store and read data outside every schema",
        "lo_.*|loread|lowrite|lo(import|export)",
    ),
    Item(
        "statements and cursors of the connection",
        "one tenant reads the text of statements that the connection ran for another",
        "pg_prepared_statement|pg_cursor",
    ),
    Item(
        "functions that run SQL text (Citus)",
        "an injected expression runs whole statements, on every node",
        "run_command_on_.*|master_run_on_worker",
        owner=True,
    ),
    Item("setseed", "one tenant chooses the random numbers of the next on its connection", "setseed"),
    Item(
        "memory of the connection's server process",
        "nothing by itself; connection pools need it to replace a process that has grown",
        "pg_get_backend_memory_contexts",
        app=True,
    ),
    Item(
        "messages in the write-ahead log",
        "one tenant fills the server's disk without leaving a row",
        "pg_logical_emit_message",
    ),
)


class Missing(msgspec.Struct, frozen=True):
    """A right that PUBLIC still has."""

    name: str
    allows: str
    detail: str


_PUBLIC_FUNCTIONS: Final = """
SELECT p.oid::regprocedure::text AS signature
FROM pg_catalog.pg_proc p
WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ ('^(' || $1 || ')$')
  AND has_function_privilege('public', p.oid, 'EXECUTE')
ORDER BY 1
"""

_FUNCTIONS: Final = """
SELECT p.oid::regprocedure::text AS signature FROM pg_catalog.pg_proc p
WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ ('^(' || $1 || ')$') ORDER BY 1
"""

TEMP: Final = "temporary tables"
TEMP_ALLOWS: Final = "a temporary table shadows a tenant's table for the next user of the connection"
PUBLIC_SCHEMA: Final = "the schema public"
PUBLIC_SCHEMA_ALLOWS: Final = "objects of one tenant where every other tenant can reach them"
LANGUAGES: Final = "trusted languages"
LANGUAGES_ALLOWS: Final = "DO blocks and functions of one's own, and so statements built at run time"


async def harden(connection: Connection, installation: Installation) -> None:
    """Revoke from PUBLIC all that this module lists, in the connection's database. Safe to repeat.

    Args:
        connection: of a superuser.
        installation: whose logins keep what they need.

    Raises:
        asyncpg.InsufficientPrivilegeError: the login is not a superuser, as on most managed servers.
    """
    script: list[str] = []
    for item in FUNCTIONS:
        for row in await connection.fetch(_FUNCTIONS, item.functions):
            script.append(f"REVOKE ALL ON FUNCTION {row['signature']} FROM PUBLIC")
            for role, needed in ((installation.app, item.app), (installation.owner, item.owner)):
                verb, to = ("GRANT", "TO") if needed else ("REVOKE", "FROM")
                script.append(f"{verb} EXECUTE ON FUNCTION {row['signature']} {to} {quoted(role)}")
    database = quoted(await connection.fetchval("SELECT current_database()"))
    script += [
        f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC",
        f"REVOKE TEMPORARY ON DATABASE {database} FROM {quoted(installation.app)}",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
    ]
    for row in await connection.fetch("SELECT lanname FROM pg_catalog.pg_language WHERE lanpltrusted"):
        language = quoted(row["lanname"])
        script.append(f"REVOKE ALL ON LANGUAGE {language} FROM PUBLIC")
        script.append(f"GRANT USAGE ON LANGUAGE {language} TO {quoted(installation.owner)}")
    await installation.execute(connection, script)


async def missing(connection: Connection) -> list[Missing]:
    """Return the rights that PUBLIC still has in the connection's database.

    Args:
        connection: of any login.
    """
    found: list[Missing] = []
    for item in FUNCTIONS:
        rows = await connection.fetch(_PUBLIC_FUNCTIONS, item.functions)
        found += [Missing(item.name, item.allows, row["signature"]) for row in rows]
    database = await connection.fetchval("SELECT current_database()")
    for privilege in ("TEMPORARY", "CREATE"):
        if await connection.fetchval("SELECT has_database_privilege('public', $1, $2)", database, privilege):
            found.append(Missing(TEMP, TEMP_ALLOWS, f"{privilege} on database {database}"))
    for privilege in ("USAGE", "CREATE"):
        if await connection.fetchval("SELECT has_schema_privilege('public', 'public', $1)", privilege):
            found.append(Missing(PUBLIC_SCHEMA, PUBLIC_SCHEMA_ALLOWS, f"{privilege} on schema public"))
    rows = await connection.fetch(
        "SELECT lanname FROM pg_catalog.pg_language"
        " WHERE lanpltrusted AND has_language_privilege('public', oid, 'USAGE') ORDER BY 1"
    )
    found += [Missing(LANGUAGES, LANGUAGES_ALLOWS, f"USAGE on language {row['lanname']}") for row in rows]
    return found


def login_settings(settings: dict[str, str], role: str) -> list[str]:
    """Return the statements that set ``settings`` on a login."""
    return [f"ALTER ROLE {quoted(role)} SET {name} = {literal(value)}" for name, value in settings.items()]
