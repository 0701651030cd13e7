"""Citus: a database spread over several servers, each tenant's schema on one of them (schema-based sharding).

Its nodes connect to each other as the current role. So keepers and tenants' roles may log in, without a password,
and roles are committed before they are used; see `roles`. Statements go one by one; see `installation`.
"""

from typing import Final

from db.names import quoted
from db.server.extensions import Flaw
from db.server.installation import Installation
from db.session.connection import EXTENSIONS, Connection

SHARDING: Final = "citus.enable_schema_based_sharding"
"""The setting under which a new schema is a tenant's: its tables are on one node, and moved together."""

_OURS: Final = """
SELECT rolname FROM pg_catalog.pg_roles
WHERE NOT rolcanlogin AND (rolname ~ $1 OR rolname IN (SELECT schema_name FROM shared.tenants))
ORDER BY 1
"""
_KEEPERS: Final = "SELECT rolname FROM pg_catalog.pg_roles WHERE NOT rolcanlogin AND rolname ~ $1 ORDER BY 1"
_SET: Final = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s
  WHERE s.setrole = to_regrole($1) AND s.setconfig && ARRAY[$2 || '=on', $2 || '=true']
    AND s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())))
"""
_CONNECTS: Final = "SELECT has_database_privilege('public', current_database(), 'CONNECT')"

_EXTENSION: Final = """
SELECT extversion AS version, to_regclass('pg_catalog.pg_dist_schema') IS NOT NULL AS shards_schemas
FROM pg_catalog.pg_extension WHERE extname = 'citus'
"""
_SHARDED: Final = """
SELECT n.nspname FROM pg_catalog.pg_dist_schema d JOIN pg_catalog.pg_namespace n ON n.oid = d.schemaid
WHERE n.nspname = ANY ($1::text[]) ORDER BY 1
"""
_LOCAL: Final = """
SELECT count(*) FROM shared.tenants t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
WHERE t.status <> 'purged' AND n.oid NOT IN (SELECT schemaid FROM pg_catalog.pg_dist_schema)
"""
_NODES: Final = """
SELECT count(*) FILTER (WHERE groupid = 0) > 0 AS coordinator,
  count(*) FILTER (WHERE noderole = 'primary' AND NOT isactive) AS inactive
FROM pg_catalog.pg_dist_node
"""

AGAIN: Final = "run `litestar bootstrap` again"


async def prepare(connection: Connection, ours: Installation) -> None:
    """Set up what Citus needs of the logins and of the connection's database. Safe to repeat.

    Whatever its nodes may reach as any role is guarded by their ``pg_hba.conf``, not by the right to connect.

    Args:
        connection: of a superuser, in a transaction.
        ours: the installation.
    """
    database = quoted(await connection.fetchval("SELECT current_database()"))
    roles = await _without_login(connection, ours)
    await ours.execute(
        connection,
        (
            f"GRANT CONNECT ON DATABASE {database} TO PUBLIC",
            f"ALTER ROLE {quoted(ours.owner)} IN DATABASE {database} SET {SHARDING} TO on",
            *(f"ALTER ROLE {quoted(role)} LOGIN" for role in roles),
        ),
    )


async def check(connection: Connection, ours: Installation) -> list[Flaw]:
    """Return what is not as Citus needs it.

    Args:
        connection: of a login that may read ``shared.tenants``.
        ours: the installation.
    """
    found = []
    if not await connection.fetchval(_CONNECTS):
        found.append(Flaw(f"PUBLIC may not connect: {AGAIN}", "nothing; nodes cannot reach each other"))
    if not await connection.fetchval(_SET, quoted(ours.owner), SHARDING):
        problem = f"{SHARDING} is not on for {ours.owner}: {AGAIN}"
        found.append(Flaw(problem, "nothing; new tenants stay on the coordinator"))
    roles = await _without_login(connection, ours)
    if roles:
        problem = f"{len(roles)} keepers and tenants' roles may not log in: {AGAIN}"
        found.append(Flaw(problem, "nothing; nodes refuse their tenants' requests"))
    extension = await connection.fetchrow(_EXTENSION)
    if extension is None:
        return found
    if not extension["shards_schemas"]:
        problem = f"Citus {extension['version']} cannot shard by schema: 12.0 is the least"
        return [*found, Flaw(problem, "nothing; tenants stay on the coordinator")]
    return found + await _cluster(connection)


async def _cluster(connection: Connection) -> list[Flaw]:
    found = [
        Flaw(
            f"the schema {row['nspname']} is sharded: as a superuser,"
            f" SELECT citus_schema_undistribute('{row['nspname']}')",
            "nothing; what joins it with other tables fails",
        )
        for row in await connection.fetch(_SHARDED, ["shared", EXTENSIONS])
    ]
    local = await connection.fetchval(_LOCAL)
    if local:
        found.append(
            Flaw(
                f"{local} tenants are on the coordinator alone: as a superuser,"
                " SELECT citus_schema_distribute(schema_name::regnamespace) of each",
                "nothing; the coordinator holds and serves what other nodes could",
            )
        )
    nodes = await connection.fetchrow(_NODES)
    assert nodes is not None  # an aggregate without GROUP BY
    if not nodes["coordinator"]:
        problem = (
            "the coordinator does not know its own address: as a superuser, citus_set_coordinator_host(...)"
        )
        found.append(Flaw(problem, "nothing; tables of shared cannot be joined on other nodes"))
    if nodes["inactive"]:
        problem = f"{nodes['inactive']} nodes are not active: as a superuser, citus_activate_node(...)"
        found.append(Flaw(problem, "nothing; what is there is not served, and no role can be made"))
    return found


async def _without_login(connection: Connection, ours: Installation) -> list[str]:
    known = await connection.fetchval("SELECT to_regclass('shared.tenants') IS NOT NULL")
    rows = await connection.fetch(_OURS if known else _KEEPERS, ours.keepers)
    return [row["rolname"] for row in rows]
