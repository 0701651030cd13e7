"""What the API's login has no right to in ``shared``, column by column, tried for real."""

from collections.abc import Iterator

import asyncpg
import pytest

from db.server.rights import ALL, RIGHTS
from db.settings import Settings
from db.tenants import tokens
from tests.isolation import DENIED, Resident, sqlstate, undone
from tests.migrations import HEAD
from tests.shell import alembic
from tests.support import one

ROWS = {"DELETE", "TRUNCATE"}
DENIED_TO_THE_LOGIN: dict[str, dict[str, str]] = {
    "access_tokens": {
        "INSERT": "created_at, last_used_at, revoked_at",
        "UPDATE": "id, kind, token_hash, name, tenant_id, user_id, scopes, created_at",
        "DELETE": ALL,
    },
    "alembic_version": {"INSERT": ALL, "UPDATE": ALL, "DELETE": ALL},
    "audit_log": {"INSERT": "id, at", "UPDATE": ALL, "DELETE": ALL},
    "heartbeats": {"INSERT": ALL, "UPDATE": ALL, "DELETE": ALL},
    "idempotency_keys": {
        "INSERT": "created_at",
        "UPDATE": "key_hash, body_hash, tenant_id, created_at",
        "DELETE": ALL,
    },
    "messages": {
        "INSERT": "raw_body, status, attempts, deliveries, available_at, leased_until, published_at, handled_at,"
        " last_error, error_class, traceback, replays, body_hash, frame, failures",
        "UPDATE": "id, kind, type, tenant_id, tenant_version, priority, payload, raw_body, deliveries, caused_by,"
        " body_hash, created_at, frame, failures",
        "DELETE": ALL,
    },
    "pending_admins": {
        "SELECT": "first_name, last_name, created_at",
        "INSERT": "created_at",
        "UPDATE": ALL,
        "DELETE": ALL,
    },
    "pool_schemas": {"SELECT": ALL, "INSERT": ALL, "UPDATE": ALL, "DELETE": ALL},
    "replay_messages": {"UPDATE": ALL},
    "replays": {
        "INSERT": "done, skipped, status, next_at, created_at, finished_at",
        "UPDATE": "id, filter, rate, reason, actor, done, skipped, next_at, created_at",
        "DELETE": ALL,
    },
    "rollout_tenants": {
        "INSERT": "attempts, available_at, error, error_class, started_at, finished_at",
        "UPDATE": "rollout_id, tenant_id, started_at",
        "DELETE": ALL,
    },
    "rollouts": {
        "INSERT": (
            "status, failures, wave_failures, note, message_id, baked_at, created_at, started_at, finished_at"
        ),
        "UPDATE": (
            "id, target, task, arguments, canary, wave, concurrency, rate, max_failures, bake_time, filter, reason,"
            " actor, current_wave, waves, baked_at, created_at, started_at"
        ),
        "DELETE": ALL,
    },
    "shared_users": {"INSERT": "id, created_at, updated_at", "UPDATE": "id, tenant_id, created_at"},
    "structures": {"INSERT": ALL, "UPDATE": ALL, "DELETE": ALL},
    "switches": {"UPDATE": "name", "DELETE": ALL},
    "tenant_hosts": {"INSERT": "created_at", "UPDATE": ALL},
    "tenants": {
        "INSERT": "status, status_before, revision, compatible_from, version, created_at, updated_at, purge_after",
        "UPDATE": "id, schema_name, revision, compatible_from, created_at",
        "DELETE": ALL,
    },
}
"""A new column belongs here or in `RIGHTS`. TRUNCATE is denied everywhere."""

Act = tuple[str, str, str | None]
"""A table, a privilege, and a column, or None for whole rows."""


def acts(listed: dict[str, dict[str, str]], columns: dict[str, set[str]]) -> Iterator[Act]:
    """Yield what a list of rights names, column by column."""
    for table, rights in listed.items():
        for privilege, names in rights.items():
            if privilege in ROWS:
                yield table, privilege, None
            else:
                for name in columns[table] if names == ALL else set(names.split(", ")):
                    yield table, privilege, name


def statement(table: str, privilege: str, column: str | None) -> str:
    """Return a statement that needs one right and changes nothing."""
    return {
        "SELECT": f"SELECT {column} FROM shared.{table} WHERE false",
        "INSERT": f"INSERT INTO shared.{table} ({column}) SELECT {column} FROM"
        f" (SELECT (NULL::shared.{table}).*) AS nothing WHERE false",
        "UPDATE": f"UPDATE shared.{table} SET {column} = DEFAULT WHERE false",
        "DELETE": f"DELETE FROM shared.{table} WHERE false",
        "TRUNCATE": f"TRUNCATE shared.{table}",
    }[privilege]


async def in_catalog(owner: asyncpg.Connection) -> dict[str, set[str]]:
    """Return the columns of each table of ``shared``."""
    rows = await owner.fetch(
        "SELECT table_name, array_agg(column_name::text) AS columns FROM information_schema.columns"
        " WHERE table_schema = 'shared' GROUP BY 1"
    )
    return {row["table_name"]: set(row["columns"]) for row in rows}


async def test_every_column_of_every_shared_table_is_either_granted_or_denied(
    owner: asyncpg.Connection,
) -> None:
    columns = await in_catalog(owner)
    every = {
        (table, privilege, name)
        for table, names in columns.items()
        for privilege in ("SELECT", "INSERT", "UPDATE")
        for name in names
    } | {(table, "DELETE", None) for table in columns}
    granted, denied = set(acts(RIGHTS, columns)), set(acts(DENIED_TO_THE_LOGIN, columns))
    assert granted & denied == set()
    assert granted | denied == every


async def test_the_login_is_refused_all_that_is_denied_and_can_do_the_rest(
    owner: asyncpg.Connection, session: asyncpg.Connection
) -> None:
    columns = await in_catalog(owner)
    denied = {*acts(DENIED_TO_THE_LOGIN, columns), *((table, "TRUNCATE", None) for table in columns)}
    assert [
        act for act in sorted(denied, key=str) if await sqlstate(session, statement(*act)) != DENIED
    ] == []
    granted = sorted(acts(RIGHTS, columns), key=str)
    assert [act for act in granted if await sqlstate(session, statement(*act)) is not None] == []


async def test_the_login_changes_no_definition_in_shared(
    owner: asyncpg.Connection, session: asyncpg.Connection
) -> None:
    for table in await in_catalog(owner):
        for ddl in (
            f"DROP TABLE shared.{table} CASCADE",
            f"ALTER TABLE shared.{table} DISABLE TRIGGER ALL",
            f"ALTER TABLE shared.{table} ADD COLUMN mine text",
            f"CREATE INDEX ON shared.{table} ((1))",
            f"CREATE TRIGGER mine BEFORE INSERT ON shared.{table} EXECUTE FUNCTION shared.tell_ledger()",
            f"CREATE TABLE shared.mine (LIKE shared.{table})",
        ):
            assert await sqlstate(session, ddl) == DENIED, ddl
    for row in await owner.fetch(
        "SELECT oid::regclass::text AS name FROM pg_class WHERE relnamespace = 'shared'::regnamespace"
        " AND relkind = 'S'"
    ):
        assert await sqlstate(session, f"SELECT nextval('{row['name']}')") == DENIED
        assert await sqlstate(session, f"SELECT setval('{row['name']}', 1)") == DENIED
    assert await sqlstate(session, "SET session_replication_role = replica") == DENIED


async def test_the_login_learns_revisions_and_nothing_else(
    app_login: asyncpg.Connection,
    owner: asyncpg.Connection,
    superuser: asyncpg.Connection,
    residents: list[Resident],
) -> None:
    await owner.execute("CREATE SCHEMA t_aaaaaaaaaaaaaaaa")
    await owner.execute("CREATE VIEW t_aaaaaaaaaaaaaaaa.alembic_version AS SELECT 'secret' AS version_num")
    await superuser.execute("CREATE SCHEMA t_bbbbbbbbbbbbbbbb")
    await superuser.execute(
        "CREATE TABLE t_bbbbbbbbbbbbbbbb.alembic_version AS SELECT 'secret' AS version_num"
    )
    names = await owner.fetch("SELECT nspname FROM pg_namespace")
    rows = await app_login.fetch(
        "SELECT * FROM shared.schema_revisions($1)", [row["nspname"] for row in names]
    )
    assert sorted(map(tuple, rows)) == sorted((each.schema, [HEAD]) for each in residents)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await app_login.fetch(f"SELECT * FROM {residents[0].schema}.alembic_version")


_INSERT = "INSERT INTO shared.access_tokens (id, kind, token_hash, name, tenant_id, user_id) VALUES "


async def test_the_login_makes_keys_and_log_ins_but_no_operator(
    session: asyncpg.Connection, residents: list[Resident]
) -> None:
    home = residents[0].id
    assert await sqlstate(session, f"{_INSERT} ('a', 'tenant', '', 'key', '{home}', NULL)") is None
    assert await sqlstate(session, f"{_INSERT} ('b', 'user', '', 'log-in', '{home}', 1)") is None
    assert await sqlstate(session, f"{_INSERT} ('c', 'operator', '', 'mine', NULL, NULL)") == DENIED
    both = f"('d', 'tenant', '', 'key', '{home}', NULL), ('e', 'operator', '', 'mine', NULL, NULL)"
    assert await sqlstate(session, _INSERT + both) == DENIED
    assert await sqlstate(session, f"{_INSERT} ('{'f' * 16}', NULL, '', 'mine', NULL, NULL)") == "23502"


@pytest.mark.parametrize(
    "change", ["revoked_at = NULL", "expires_at = NULL", "revoked_at = now()", "expires_at = 'infinity'"]
)
async def test_the_login_changes_no_operators_token(
    owner: asyncpg.Connection, app_login: asyncpg.Connection, operator_token: str, change: str
) -> None:
    token = tokens.parse(operator_token)
    assert token is not None
    await owner.execute(
        "UPDATE shared.access_tokens SET revoked_at = now(), expires_at = now() WHERE id = $1", token.id
    )
    before = await one(owner, "SELECT * FROM shared.access_tokens WHERE id = $1", token.id)
    async with undone(app_login):
        assert await sqlstate(app_login, f"UPDATE shared.access_tokens SET {change}") == DENIED
        replaced = f"{_INSERT} ('{token.id}', 'tenant', '', 'k', gen_random_uuid(), NULL)"
        conflict = f"{replaced} ON CONFLICT (id) DO UPDATE SET {change}"
        assert await sqlstate(app_login, conflict) == DENIED
        used = "UPDATE shared.access_tokens SET last_used_at = now()"
        assert await sqlstate(app_login, used) is None
    assert await one(owner, "SELECT * FROM shared.access_tokens WHERE id = $1", token.id) == before


async def test_the_guard_of_operators_goes_and_comes_with_its_revision(
    config: Settings, session: asyncpg.Connection
) -> None:
    minted = f"{_INSERT} ('a', 'operator', '', 'mine', NULL, NULL)"
    await alembic(config, "-x", "tenant=shared", "-x", "yes=True", "downgrade", "7a5e2b80d3f4")
    assert await sqlstate(session, minted) is None
    await session.execute("ROLLBACK; BEGIN")  # the upgrade waits for the table
    await alembic(config, "-x", "tenant=shared", "upgrade", "head")
    assert await sqlstate(session, minted) == DENIED
