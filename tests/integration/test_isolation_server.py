"""The server, which all tenants share: its roles, files, sessions and notifications give nobody away."""

import asyncio

import asyncpg
import pytest

from db.server import roles
from db.server.installation import TENANTRY
from db.settings import Settings
from tests.isolation import DENIED, Resident, settle, sqlstate
from tests.support import one


async def test_the_login_owns_nothing_and_has_no_attribute(owner: asyncpg.Connection) -> None:
    role = await one(owner, "SELECT * FROM pg_catalog.pg_roles WHERE rolname = $1", TENANTRY.app)
    assert role["rolcanlogin"]
    for attribute in ("rolsuper", "rolinherit", "rolcreaterole", "rolcreatedb", "rolbypassrls"):
        assert not role[attribute]
    owned = await owner.fetchval(
        "SELECT count(*) FROM pg_catalog.pg_shdepend WHERE deptype = 'o' AND refobjid = $1::regrole",
        TENANTRY.app,
    )
    assert owned == 0


async def test_tenant_roles_have_no_attribute_no_member_but_the_login_and_no_membership(
    owner: asyncpg.Connection, residents: list[Resident]
) -> None:
    for resident in residents:
        role = await one(owner, "SELECT * FROM pg_catalog.pg_roles WHERE rolname = $1", resident.schema)
        assert not any(value for name, value in role.items() if value is True and name != "rolcanlogin")
        assert not role["rolcanlogin"]
        members = await owner.fetch(
            """
            SELECT m.member::regrole::text AS member, m.inherit_option, m.set_option, m.admin_option
            FROM pg_catalog.pg_auth_members m WHERE m.roleid = $1::regrole AND NOT m.admin_option
            """,
            resident.schema,
        )
        assert [tuple(row.values()) for row in members] == [(TENANTRY.app, False, True, False)]
        memberships = await owner.fetchval(
            "SELECT count(*) FROM pg_catalog.pg_auth_members WHERE member = $1::regrole", resident.schema
        )
        assert memberships == 0


async def test_no_tenant_role_can_log_in(
    residents: list[Resident], config: Settings, superuser: asyncpg.Connection
) -> None:
    schema = residents[0].schema
    await superuser.execute(f"ALTER ROLE {schema} PASSWORD 'guessed'")
    url = config.require("database_url").replace("tenantry_app:app-password", f"{schema}:guessed")
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="not permitted to log in"):
        await asyncpg.connect(url)
    await superuser.execute(f"ALTER ROLE {schema} LOGIN")  # even then it may not connect:
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
        await asyncpg.connect(url)
    await superuser.execute(f"ALTER ROLE {schema} NOLOGIN")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TEMP TABLE users (id int)",
        "SELECT 1 AS one INTO TEMP shadow",
        "CREATE TEMP VIEW users AS SELECT 1 AS id",
        "CREATE TABLE public.mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "SET SESSION AUTHORIZATION tenantry_owner",
        "SET LOCAL ROLE tenantry_owner",
        "SET LOCAL ROLE tenantry_keeper_00",
        "DO $$ BEGIN END $$",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "COPY (SELECT 1) TO '/tmp/mine'",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tenantry_app'",
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'tenantry_app'",
        "SELECT pg_read_file('PG_VERSION')",
        "SELECT pg_create_physical_replication_slot('mine')",
        "SELECT count(*) FROM pg_catalog.pg_authid",
        "SELECT count(*) FROM pg_catalog.pg_statistic",
        "SELECT count(*) FROM pg_catalog.pg_largeobject",
    ],
)
async def test_no_tenant_reaches_what_belongs_to_the_server(
    session: asyncpg.Connection, residents: list[Resident], statement: str
) -> None:
    await session.execute(f"SET LOCAL ROLE {residents[0].schema}")
    assert await sqlstate(session, "SELECT 1") is None
    assert await sqlstate(session, statement) == DENIED


async def test_no_tenant_sees_what_others_run(
    session: asyncpg.Connection, residents: list[Resident], config: Settings, superuser: asyncpg.Connection
) -> None:
    seen = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE query LIKE '%whispered%'"
    other = await asyncpg.connect(config.require("database_url"))
    try:
        await other.execute("SELECT 'whispered'")
        await session.execute(f"SET LOCAL ROLE {residents[0].schema}")
        assert await superuser.fetchval(seen) >= 1
        assert await session.fetchval(seen) == 0
    finally:
        await other.close()


async def test_a_tenant_that_listens_hears_that_something_changed_and_nothing_more(
    app_login: asyncpg.Connection, owner: asyncpg.Connection, config: Settings, residents: list[Resident]
) -> None:
    heard: asyncio.Queue[tuple[str, object]] = asyncio.Queue()
    await app_login.execute(f"SET ROLE {residents[0].schema}")
    assert await app_login.fetchval("SELECT current_user") == residents[0].schema
    for channel in ("tenantry_registry", "tenantry_progress", "tenantry_ledger"):
        await app_login.add_listener(channel, lambda _, __, channel, text: heard.put_nowait((channel, text)))
    await settle(owner, config, ["newcomer"])
    await owner.execute("UPDATE shared.tenants SET name = 'Another'")
    await owner.execute(
        "INSERT INTO shared.switches (name, enabled, reason) VALUES ('pause', true, 'a secret reason')"
    )
    notices: set[tuple[str, object]] = set()
    while len(notices) < 3:
        notices.add(await asyncio.wait_for(heard.get(), 5))
    assert notices == {("tenantry_registry", ""), ("tenantry_progress", ""), ("tenantry_ledger", "")}
    await app_login.execute("UNLISTEN *")


async def test_a_full_keeper_is_followed_by_another_and_each_drops_its_own(
    owner: asyncpg.Connection, config: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roles, "KEEPER_CAPACITY", 1)
    first, second = await settle(owner, config, ["first", "second"])
    keepers = [await roles.keeper_of(owner, resident.schema) for resident in (first, second)]
    assert all(keepers)
    assert len(set(keepers)) == 2
    for resident in (first, second):
        async with owner.transaction():
            await roles.drop_schema(owner, resident.schema)
            await roles.drop_schema(owner, resident.schema)  # what is gone already is no error
        assert await owner.fetchval("SELECT to_regrole($1)", resident.schema) is None
        assert await owner.fetchval("SELECT to_regnamespace($1)", resident.schema) is None
