"""Several installations in one cluster: each has its roles, reaches its own tenants alone, and none waits for ever."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import msgspec
import pytest

from api.cli.doctor import examine
from db import bootstrap, settings
from db.server import roles
from db.settings import Settings, SettingsError
from tests.isolation import DENIED, settle, sqlstate, undone
from tests.support import APP_PASSWORD, OWNER_PASSWORD, one, provisioning, serving, sign_up

PREFIXES = ("bakers", "florists")


def at(config: Settings, server_url: str, prefix: str, database: str) -> Settings:
    url = server_url.rpartition("/")[0] + f"/{database}"
    return msgspec.structs.replace(
        config,
        role_prefix=prefix,
        superuser_database_url=url,
        database_url=bootstrap.with_login(url, f"{prefix}_app", APP_PASSWORD),
        owner_database_url=bootstrap.with_login(url, f"{prefix}_owner", OWNER_PASSWORD),
    )


async def bootstrapped(config: Settings) -> bootstrap.Bootstrapped:
    return await bootstrap.bootstrap(
        config.require("superuser_database_url"),
        owner_password=OWNER_PASSWORD,
        app_password=APP_PASSWORD,
        settings=config,
    )


@pytest.fixture
async def cleared(superuser: asyncpg.Connection) -> AsyncIterator[None]:
    """Drop the databases and roles of the test's installations afterwards."""
    yield
    for row in await superuser.fetch("SELECT datname FROM pg_database WHERE datname ~ '^several_'"):
        await superuser.execute(f"DROP DATABASE {row['datname']} WITH (FORCE)")
    made = f"^({'|'.join(PREFIXES)})_"
    schemas = await superuser.fetch(
        "SELECT m.roleid::regrole::text AS name FROM pg_auth_members m"
        " WHERE m.member::regrole::text ~ $1 AND m.roleid::regrole::text ~ '^t_'",
        made,
    )
    logins = await superuser.fetch("SELECT rolname AS name FROM pg_roles WHERE rolname ~ $1", made)
    for name in {row["name"] for row in schemas} | {row["name"] for row in logins}:
        await superuser.execute(f"DROP OWNED BY {name}")
    for name in [*{row["name"] for row in schemas}, *(row["name"] for row in logins)]:
        await superuser.execute(f"DROP ROLE {name}")


@pytest.fixture
def installations(config: Settings, superuser_url: str, cleared: None) -> list[Settings]:
    return [at(config, superuser_url, prefix, f"several_{prefix}") for prefix in PREFIXES]


async def test_two_installations_serve_their_own_tenants_and_reach_no_other(
    installations: list[Settings], superuser: asyncpg.Connection
) -> None:
    schemas = []
    for there in installations:
        await bootstrapped(there)
        async with serving(there) as api, provisioning(there):
            tenant = await sign_up(api, "bakery")
            assert (await api.get("/users", headers=tenant.headers)).status_code == 200
        assert await examine(there) == []
        owner = await asyncpg.connect(there.require("owner_database_url"))
        schemas.append(await owner.fetchval("SELECT schema_name FROM shared.tenants"))
        keeper = await roles.keeper_of(owner, schemas[-1])
        assert keeper == f"{there.role_prefix}_keeper_00"
        await owner.close()
    for there, foreign, other in zip(installations, reversed(schemas), reversed(installations), strict=True):
        for login in ("database_url", "owner_database_url"):
            connection = await asyncpg.connect(there.require(login))
            async with undone(connection):
                for role in (foreign, f"{other.role_prefix}_app", f"{other.role_prefix}_owner"):
                    assert await sqlstate(connection, f"SET LOCAL ROLE {role}") == DENIED
                assert await sqlstate(connection, f"GRANT {foreign} TO CURRENT_USER") == DENIED
                assert await sqlstate(connection, f"DROP ROLE {foreign}") == DENIED
            await connection.close()
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
                await asyncpg.connect(
                    there.require(login).rpartition("/")[0] + f"/several_{other.role_prefix}"
                )
    # Even in one database, without the right to connect as the guard:
    inside = await asyncpg.connect(installations[1].require("superuser_database_url"))
    await inside.execute(f"SET SESSION AUTHORIZATION {installations[0].role_prefix}_app")
    async with undone(inside):
        assert await sqlstate(inside, f"SELECT count(*) FROM {schemas[1]}.users") == DENIED
        assert await sqlstate(inside, "SELECT count(*) FROM shared.tenants") == DENIED
    await inside.close()


async def test_doctor_tells_who_else_reaches_a_tenant(
    config: Settings, superuser: asyncpg.Connection, owner: asyncpg.Connection, cleared: None
) -> None:
    (resident,) = await settle(owner, config, ["bakery"])
    await superuser.execute(f"CREATE ROLE bakers_app; GRANT {resident.schema} TO bakers_app")
    (found,) = await examine(config)
    assert found.problem == "bakers_app reaches 1 (bakery), and is not of this installation"
    await superuser.execute(f"REVOKE {resident.schema} FROM bakers_app")
    await owner.execute(f"GRANT USAGE ON SCHEMA {resident.schema} TO PUBLIC")
    assert "PUBLIC reaches 1 (bakery), and is not of this installation" in [
        finding.problem for finding in await examine(config)
    ]


async def test_a_bootstrap_leaves_another_installations_database_alone(
    installations: list[Settings],
) -> None:
    first, second = installations
    await bootstrapped(first)
    wrong = msgspec.structs.replace(second, superuser_database_url=first.superuser_database_url)
    with pytest.raises(bootstrap.InstallationError, match="set ROLE_PREFIX=bakers"):
        await bootstrapped(wrong)


@pytest.mark.parametrize("prefixes", [("bakers", "bakers", "bakers"), ("bakers", "florists", "bakers")])
async def test_bootstraps_at_once_all_succeed(
    config: Settings, superuser_url: str, cleared: None, prefixes: tuple[str, ...]
) -> None:
    for round_ in range(3):
        three = [
            at(config, superuser_url, prefix, f"several_{round_}_{number}")
            for number, prefix in enumerate(prefixes)
        ]
        await asyncio.gather(*(bootstrapped(there) for there in three))
        for there in three:
            assert await examine(there) == []


async def test_keepers_added_from_two_databases_at_once_are_several_or_shared(
    installations: list[Settings], superuser_url: str, config: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [at(config, superuser_url, "bakers", f"several_{number}") for number in range(2)]
    for there in both:
        await bootstrapped(there)
    monkeypatch.setattr(roles, "KEEPER_CAPACITY", 0)  # each asks for one more
    owners = [await asyncpg.connect(there.require("owner_database_url")) for there in both]

    async def add(owner: asyncpg.Connection) -> list[str]:
        names = []
        for _ in range(5):
            async with owner.transaction():
                names.append(await roles.keeper(owner))
        return names

    made = [name for names in await asyncio.gather(*map(add, owners)) for name in names]
    assert sorted(made) == [f"bakers_keeper_{number:02}" for number in range(1, 11)]
    for owner in owners:
        await owner.close()


async def test_a_gap_and_a_strangers_keeper_do_not_block_sign_ups(
    installations: list[Settings], superuser: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = installations[0]
    await bootstrapped(first)
    owner = await asyncpg.connect(first.require("owner_database_url"))
    monkeypatch.setattr(roles, "KEEPER_CAPACITY", 0)
    async with owner.transaction():
        assert [await roles.keeper(owner) for _ in range(2)] == ["bakers_keeper_01", "bakers_keeper_02"]
    await owner.execute("DROP ROLE bakers_keeper_01")
    await superuser.execute("CREATE ROLE bakers_keeper_07 CREATEROLE")  # the owner does not administer it
    async with owner.transaction():
        assert await roles.keeper(owner) == "bakers_keeper_08"
    monkeypatch.undo()
    await superuser.execute("DROP ROLE bakers_keeper_00")
    async with serving(first) as api, provisioning(first):
        await sign_up(api, "bakery")
    row = await one(owner, "SELECT schema_name FROM shared.tenants")
    assert await roles.keeper_of(owner, row["schema_name"]) == "bakers_keeper_02"
    await owner.close()


@pytest.mark.parametrize("prefix", ["", "Bakers", "1a", "a-b", "pg", "pg_bakers", "a" * 32, 'a"b', "é"])
def test_a_prefix_is_a_plain_name(prefix: str) -> None:
    if not prefix:
        assert settings.load({"ROLE_PREFIX": prefix}).role_prefix == "tenantry"
        return
    with pytest.raises(SettingsError, match="ROLE_PREFIX"):
        settings.load({"ROLE_PREFIX": prefix})
