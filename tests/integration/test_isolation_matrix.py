"""The deny matrix: every tenant's role against every other tenant's tables, taken from the catalog.

Only SQLSTATE 42501 counts as a refusal: any other error would mean that the question was put wrongly. A
new table is in the matrix as soon as a migration makes it.
"""

import asyncpg

from db.models.base import Base
from db.server import rights
from db.server.installation import TENANTRY
from tests.isolation import DENIED, Resident, sqlstate, undone

ON_TABLE = {
    "SELECT": "SELECT FROM {table} LIMIT 1",
    "INSERT": "INSERT INTO {table} DEFAULT VALUES",
    "UPDATE": "UPDATE {table} SET {column} = {column}",
    "DELETE": "DELETE FROM {table}",
    "TRUNCATE": "TRUNCATE {table}",
    "LOCK": "LOCK TABLE {table} IN SHARE MODE",
    "ALTER TABLE": "ALTER TABLE {table} ADD COLUMN mine int",
    "DROP TABLE": "DROP TABLE {table}",
    "CREATE INDEX": "CREATE INDEX ON {table} ({column})",
    "CREATE TRIGGER": (
        "CREATE TRIGGER mine BEFORE INSERT ON {table}"
        " FOR EACH ROW EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()"
    ),
    "GRANT": "GRANT SELECT ON {table} TO PUBLIC",
    "COMMENT": "COMMENT ON TABLE {table} IS 'mine'",
    "POLICY": "CREATE POLICY mine ON {table}",
}
ON_SCHEMA = {
    "CREATE TABLE": "CREATE TABLE {schema}.mine (id int)",
    "CREATE FUNCTION": "CREATE FUNCTION {schema}.mine() RETURNS int LANGUAGE sql RETURN 1",
    "CREATE VIEW": "CREATE VIEW {schema}.mine AS SELECT 1 AS one",
    "CREATE TYPE": "CREATE TYPE {schema}.mine AS (id int)",
    "CREATE SEQUENCE": "CREATE SEQUENCE {schema}.mine",
    "CREATE SCHEMA": "CREATE SCHEMA mine",
    "DROP SCHEMA": "DROP SCHEMA {schema} CASCADE",
    "ALTER SCHEMA": "ALTER SCHEMA {schema} RENAME TO mine",
    "GRANT": "GRANT USAGE ON SCHEMA {schema} TO PUBLIC",
}
OF_ITS_OWN = ("SELECT", "INSERT", "UPDATE", "DELETE")


async def tables_of(connection: asyncpg.Connection, schema: str) -> dict[str, str]:
    """Return a schema's tables, each with one of its columns, as the catalog has them now."""
    rows = await connection.fetch(
        """
        SELECT c.oid::regclass::text AS table, min(a.attname::text) AS column
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = to_regnamespace($1) AND c.relkind IN ('r', 'p') AND a.attnum > 0
          AND NOT a.attisdropped AND a.attidentity = ''
        GROUP BY c.oid ORDER BY 1
        """,
        schema,
    )
    return {row["table"]: row["column"] for row in rows}


async def verdicts(
    session: asyncpg.Connection, schema: str, tables: dict[str, str]
) -> dict[tuple[str, str], str | None]:
    """Try everything on a schema and its tables; return what PostgreSQL said to each."""
    said = {
        (table, name): await sqlstate(session, statement.format(table=table, column=column))
        for table, column in tables.items()
        for name, statement in ON_TABLE.items()
    }
    return said | {
        (schema, name): await sqlstate(session, statement.format(schema=schema))
        for name, statement in ON_SCHEMA.items()
    }


async def test_no_tenant_can_do_anything_to_another_tenants_schema(
    session: asyncpg.Connection, owner: asyncpg.Connection, residents: list[Resident]
) -> None:
    tables = {resident.schema: await tables_of(owner, resident.schema) for resident in residents}
    for schema, found in tables.items():
        assert set(found) == {f"{schema}.{name}" for name in (*Base.metadata.tables, "alembic_version")}
    for attacker in residents:
        await session.execute(f"SET LOCAL ROLE {attacker.schema}")
        for victim in residents:
            if victim is not attacker:
                said = await verdicts(session, victim.schema, tables[victim.schema])
                assert {what: code for what, code in said.items() if code != DENIED} == {}


async def test_a_tenant_reads_and_writes_its_own_rows_and_changes_nothing_else(
    session: asyncpg.Connection, owner: asyncpg.Connection, residents: list[Resident]
) -> None:
    own = residents[0]
    tables = await tables_of(owner, own.schema)
    await session.execute(f"SET LOCAL ROLE {own.schema}")
    said = await verdicts(session, own.schema, tables)
    for (place, what), code in said.items():
        own_table = place in tables and not place.endswith(".alembic_version")
        if own_table and what in OF_ITS_OWN:
            # A row of nothing but defaults meets NOT NULL (23502): the right was there, the row is not valid.
            assert code is None or code.startswith("23"), (place, what, code)
        elif own_table and what == "LOCK":
            assert code is None  # who may write may lock
        elif what == "GRANT" and not place.endswith(".alembic_version"):
            assert code is None  # a warning: nothing could be granted, as the next test sees
        else:
            assert code == DENIED, (place, what, code)


async def test_a_tenant_cannot_pass_its_rights_on(
    session: asyncpg.Connection, owner: asyncpg.Connection, residents: list[Resident]
) -> None:
    own, other, _ = residents
    users = f"{own.schema}.users"
    granted = "SELECT has_schema_privilege($1, $2, 'USAGE') OR has_table_privilege($1, $3, 'SELECT')"
    await session.execute(f"SET LOCAL ROLE {own.schema}")
    await session.execute(f"GRANT USAGE ON SCHEMA {own.schema} TO {other.schema}, PUBLIC")
    await session.execute(f"GRANT SELECT ON {users} TO {other.schema}, PUBLIC")
    assert await session.fetchval(granted, own.schema, own.schema, users) is True
    for grantee in (other.schema, "public", TENANTRY.app):
        assert await session.fetchval(granted, grantee, own.schema, users) is False
    assert await sqlstate(session, f"GRANT {own.schema} TO {other.schema}") == DENIED


async def test_a_new_table_joins_the_matrix_by_itself(
    session: asyncpg.Connection, owner: asyncpg.Connection, residents: list[Resident]
) -> None:
    victim, attacker, _ = residents
    await owner.execute(f"CREATE TABLE {victim.schema}.novelty (id int)")
    await owner.execute(f"GRANT SELECT ON {victim.schema}.novelty TO {attacker.schema}")
    await owner.execute(f"GRANT USAGE ON SCHEMA {victim.schema} TO {attacker.schema}")
    tables = await tables_of(owner, victim.schema)
    await session.execute(f"SET LOCAL ROLE {attacker.schema}")
    said = await verdicts(session, victim.schema, tables)
    assert said[f"{victim.schema}.novelty", "SELECT"] is None
    assert said[f"{victim.schema}.novelty", "INSERT"] == DENIED


async def test_the_login_without_a_role_has_no_right_on_any_tenants_schema(
    session: asyncpg.Connection, owner: asyncpg.Connection, residents: list[Resident]
) -> None:
    for resident in residents:
        said = await verdicts(session, resident.schema, await tables_of(owner, resident.schema))
        assert {what: code for what, code in said.items() if code != DENIED} == {}


async def test_tenants_have_no_right_on_any_shared_table(
    session: asyncpg.Connection, owner: asyncpg.Connection, residents: list[Resident]
) -> None:
    tables = await tables_of(owner, "shared")
    assert {f"shared.{name}" for name in rights.RIGHTS} <= set(tables)
    await session.execute(f"SET LOCAL ROLE {residents[0].schema}")
    said = await verdicts(session, "shared", tables)
    assert {what: code for what, code in said.items() if code != DENIED} == {}
    # In the catalog too, where the right on the schema does not matter.
    granted = await owner.fetch(
        """
        SELECT c.relname, r.rolname, p.privilege
        FROM pg_catalog.pg_class c
        CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS p (privilege)
        JOIN pg_catalog.pg_roles r ON r.rolname ~ '^t_[a-z2-7]{16}$'
        WHERE c.relnamespace = 'shared'::regnamespace AND c.relkind IN ('r', 'p')
          AND has_table_privilege(r.oid, c.oid, p.privilege)
        """
    )
    assert granted == []


async def test_the_logins_rights_on_shared_are_exactly_those_spelled_out(owner: asyncpg.Connection) -> None:
    columns = await owner.fetch(
        """
        SELECT c.relname, a.attname FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'shared'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
          AND a.attnum > 0 AND NOT a.attisdropped
        """
    )
    expected, allowed = set(), set()
    for table, column in columns:
        spelled_out = rights.RIGHTS.get(table, {})
        for privilege in ("SELECT", "INSERT", "UPDATE", "REFERENCES"):
            named = spelled_out.get(privilege, "")
            if named == rights.ALL or column in [name.strip() for name in named.split(",")]:
                expected.add((table, column, privilege))
            if await owner.fetchval(
                "SELECT has_column_privilege($1, to_regclass($2), $3, $4)",
                TENANTRY.app,
                f"shared.{table}",
                column,
                privilege,
            ):
                allowed.add((table, column, privilege))
        for privilege in ("DELETE", "TRUNCATE", "TRIGGER", "MAINTAIN"):
            if privilege in spelled_out:
                expected.add((table, "*", privilege))
            if await owner.fetchval(
                "SELECT has_table_privilege($1, to_regclass($2), $3)",
                TENANTRY.app,
                f"shared.{table}",
                privilege,
            ):
                allowed.add((table, "*", privilege))
    assert allowed == expected


async def test_the_login_reads_no_more_of_waiting_administrators_than_is_spelled_out(
    session: asyncpg.Connection, residents: list[Resident]
) -> None:
    waiting = (
        "INSERT INTO shared.pending_admins (tenant_id, email, password_hash)"
        f" VALUES ('{residents[0].id}', 'ann@example.com', 'a hash')"
    )
    assert await sqlstate(session, waiting) is None
    for refused in (
        "SELECT * FROM shared.pending_admins",
        "SELECT first_name FROM shared.pending_admins",
        "UPDATE shared.pending_admins SET password_hash = 'another'",
        "DELETE FROM shared.pending_admins",
    ):
        assert await sqlstate(session, refused) == DENIED


async def test_the_audit_log_takes_entries_and_gives_up_none_even_to_its_owner(
    owner: asyncpg.Connection, app_login: asyncpg.Connection
) -> None:
    entry = "INSERT INTO shared.audit_log (actor, action, outcome) VALUES ('a', 'b', 'ok')"
    for connection in (owner, app_login):
        async with undone(connection):
            await connection.execute(entry)
            for change in (
                "UPDATE shared.audit_log SET actor = 'somebody else'",
                "DELETE FROM shared.audit_log",
                "TRUNCATE shared.audit_log",
            ):
                assert await sqlstate(connection, change) == DENIED
            assert await connection.fetchval("SELECT count(*) FROM shared.audit_log") == 1
