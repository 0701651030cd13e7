"""Extensions: the schema ``extensions`` that holds them, and those that the domain names (``EXTENSIONS``).

The schema is the owner's, nobody else may create anything in it, and it is on the search path of logins and
migrations, so that types, operators and index classes are found. Tenants' roles use it through PUBLIC: with a
grant for each, two schemas could not be made at once ("tuple concurrently updated"), and each grant would
rewrite a list as long as the fleet.
"""

from collections.abc import Sequence
from typing import Final

import asyncpg
import msgspec

from db import domain
from db.errors import TenantryError
from db.names import quoted
from db.server import installation
from db.session import locks
from db.session.connection import EXTENSIONS, Connection

WANTED: Final[tuple[str, ...]] = getattr(domain, "EXTENSIONS", ())

_RUNS_TEXT: Final = frozenset({"dblink", "tablefunc", "xml2"})
"""Extensions with functions that run text as SQL, which the hardening takes away elsewhere."""


class ExtensionError(TenantryError):
    """An extension is missing and cannot be installed. The message says why, and how it can be."""

    kind = "unavailable"


class Flaw(msgspec.Struct, frozen=True):
    """Something that is not as it should be, and what it allows or keeps from working."""

    problem: str
    allows: str


_SCHEMA: Final = """
SELECT n.nspowner::regrole::text = $2 AS owned, has_schema_privilege('public', n.oid, 'USAGE') AS open
FROM pg_catalog.pg_namespace n WHERE n.nspname = $1
"""

_CREATORS: Final = """
SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS name
FROM pg_catalog.pg_namespace n CROSS JOIN aclexplode(n.nspacl) a
WHERE n.nspname = $1 AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner ORDER BY 1
"""

_FOREIGN: Final = """
SELECT d.kind, d.name FROM (
  SELECT 'pg_class'::regclass AS catalog, oid, relname AS name, 'relation' AS kind, relnamespace AS place
  FROM pg_catalog.pg_class
  UNION ALL SELECT 'pg_proc'::regclass, oid, proname, 'function', pronamespace FROM pg_catalog.pg_proc
  UNION ALL SELECT 'pg_operator'::regclass, oid, oprname, 'operator', oprnamespace FROM pg_catalog.pg_operator
  UNION ALL SELECT 'pg_type'::regclass, oid, typname, 'type', typnamespace FROM pg_catalog.pg_type
  WHERE typrelid = 0 AND typelem = 0
) d
WHERE d.place = to_regnamespace($1) AND NOT EXISTS (
  SELECT FROM pg_catalog.pg_depend p WHERE p.classid = d.catalog AND p.objid = d.oid AND p.deptype IN ('e', 'i'))
ORDER BY 1, 2
"""

_INSTALLED: Final = """
SELECT e.extname AS name, n.nspname AS place FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = ANY($1::text[])
"""


async def prepare(connection: Connection, wanted: Sequence[str], owner: str) -> None:
    """Make the schema and install the extensions that are missing. Safe to repeat.

    A superuser also takes from others what they may create there. The owner can install the extensions that
    PostgreSQL trusts, such as citext, hstore, pg_trgm and btree_gist.

    Args:
        connection: of a superuser or the owner, in a transaction.
        wanted: the names of the extensions.
        owner: the login that owns the schema.

    Raises:
        ExtensionError: an extension cannot be installed.
    """
    missing = await _missing(connection, wanted)
    row = await connection.fetchrow(_SCHEMA, EXTENSIONS, owner)
    as_it_should_be = row is not None and row["owned"] and row["open"] and not missing
    if as_it_should_be and not await connection.fetch(_CREATORS, EXTENSIONS):
        return
    # Two provisioners may start at once.
    await connection.execute(f"SELECT pg_advisory_xact_lock({locks.BOOTSTRAP})")
    if await connection.fetchval("SELECT to_regnamespace($1)", EXTENSIONS) is None:
        ours = await installation.of(connection)
        await ours.execute(connection, ours.unsharded(f"{EXTENSIONS} AUTHORIZATION {quoted(owner)}"))
    if await connection.fetchval("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"):
        await connection.execute(f"ALTER SCHEMA {EXTENSIONS} OWNER TO {quoted(owner)}")
    for creator in await connection.fetch(_CREATORS, EXTENSIONS):
        await connection.execute(f"REVOKE CREATE ON SCHEMA {EXTENSIONS} FROM {creator['name']} CASCADE")
    await connection.execute(f"GRANT USAGE ON SCHEMA {EXTENSIONS} TO PUBLIC")
    for name in await _missing(connection, wanted):
        await _install(connection, name)


async def check(connection: Connection, wanted: Sequence[str]) -> list[Flaw]:
    """Return what is not as it should be with the schema and the extensions.

    Args:
        connection: of any login.
        wanted: the names of the extensions.
    """
    again = "run `litestar bootstrap` again"
    row = await connection.fetchrow(_SCHEMA, EXTENSIONS, (await installation.of(connection)).owner)
    if row is None:
        return [Flaw(f"there is no schema {EXTENSIONS}: {again}", "nothing; extensions cannot be used")]
    found = []
    if not row["owned"]:
        found.append(
            Flaw(f"{EXTENSIONS} is not the owner's: {again}", "another role's objects in every query")
        )
    if not row["open"]:
        found.append(Flaw(f"PUBLIC lacks USAGE on {EXTENSIONS}: {again}", "nothing; requests fail"))
    found += [
        Flaw(
            f"{each['name']} may create in {EXTENSIONS}: {again}",
            "functions that other tenants' queries call",
        )
        for each in await connection.fetch(_CREATORS, EXTENSIONS)
    ]
    found += [
        Flaw(
            f"{each['kind']} {each['name']} in {EXTENSIONS} is no extension's: drop it",
            "what every tenant's queries may find by its name",
        )
        for each in await connection.fetch(_FOREIGN, EXTENSIONS)
    ]
    try:
        missing = await _missing(connection, wanted)
    except ExtensionError as error:
        return [*found, Flaw(str(error), "nothing; revisions and queries that need it fail")]
    return found + [
        Flaw(f"{name} is not installed: {again}", "nothing; revisions and queries that need it fail")
        for name in missing
    ]


async def _missing(connection: Connection, wanted: Sequence[str]) -> list[str]:
    """Return the wanted extensions that are not installed.

    Raises:
        ExtensionError: one is installed in another schema.
    """
    if not wanted:
        return []
    places = {row["name"]: row["place"] for row in await connection.fetch(_INSTALLED, list(wanted))}
    for name, place in places.items():
        if place != EXTENSIONS:
            raise ExtensionError(
                f"the extension {name} is in schema {place}: as a superuser,"
                f" ALTER EXTENSION {quoted(name)} SET SCHEMA {EXTENSIONS}"
            )
    return [name for name in wanted if name not in places]


async def _install(connection: Connection, name: str) -> None:
    if name in _RUNS_TEXT:
        raise ExtensionError(
            f"the extension {name} is refused: its functions run text as SQL, and so would an injected"
            " expression; take it out of EXTENSIONS in db/domain.py"
        )
    available = "SELECT true FROM pg_catalog.pg_available_extensions WHERE name = $1"
    if not await connection.fetchval(available, name):
        raise ExtensionError(
            f"this server has no extension {name}: install the package that brings it, such as"
            " postgresql-contrib, or take it out of EXTENSIONS in db/domain.py"
        )
    try:
        async with connection.transaction():
            await connection.execute(f"CREATE EXTENSION {quoted(name)} SCHEMA {EXTENSIONS}")
    except asyncpg.InsufficientPrivilegeError as error:
        raise ExtensionError(
            f"the extension {name} is not installed, and only a superuser may do so: run `litestar bootstrap`"
        ) from error
    except asyncpg.FeatureNotSupportedError as error:
        raise ExtensionError(
            f"the extension {name} insists on a schema of its own ({error.args[0]}), where no tenant could use it;"
            " take it out of EXTENSIONS in db/domain.py"
        ) from error
    except (asyncpg.ObjectNotInPrerequisiteStateError, asyncpg.UndefinedObjectError) as error:
        raise ExtensionError(f"the extension {name} cannot be installed: {error.args[0]}") from error
