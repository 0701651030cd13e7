"""A dump that was restored into a new server, which has no tenants' roles: doctor says so, bootstrap mends it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import msgspec
import pytest

from api.cli.doctor import examine
from db import bootstrap
from db.local.servers.postgres import PostgresServer, binaries
from db.server import ownership, repair, roles
from db.server.installation import TENANTRY
from db.settings import Settings
from tests import leaks
from tests.isolation import Resident, settle
from tests.shell import typed
from tests.support import APP_PASSWORD, OWNER_PASSWORD, serving

FAST = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off"}


@pytest.fixture
def second(tmp_path: Path) -> Iterator[PostgresServer]:
    """Another server, which knows nothing of Tenantry yet."""
    server = PostgresServer(tmp_path / "second", settings=FAST, log=leaks.output("second"))
    server.start()
    yield server
    server.kill()


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(binaries() / program), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


async def restored(dump: Path, server: PostgresServer, name: str, *options: str) -> str:
    """Restore a dump into a new database, and return a superuser's address of that."""
    connection = await asyncpg.connect(server.superuser_url)
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    await connection.close()
    url = server.superuser_url.rpartition("/")[0] + f"/{name}"
    run("pg_restore", "-d", url, *options, dump)  # without the roles it reports errors, and goes on
    return url


def at(config: Settings, url: str) -> Settings:
    return msgspec.structs.replace(
        config,
        superuser_database_url=url,
        database_url=bootstrap.with_login(url, "tenantry_app", APP_PASSWORD),
        owner_database_url=bootstrap.with_login(url, "tenantry_owner", OWNER_PASSWORD),
    )


@pytest.fixture
async def dumped(
    config: Settings, owner: asyncpg.Connection, superuser_url: str, tmp_path: Path
) -> tuple[Path, list[Resident]]:
    """A dump of a database with more tenants than one batch takes, and with types and functions of theirs."""
    residents = await settle(owner, config, [f"bakery{number:02}" for number in range(ownership.BATCH + 2)])
    schema = residents[0].schema
    await owner.execute(f"CREATE TYPE {schema}.mood AS ENUM ('good'); CREATE DOMAIN {schema}.word AS text")
    await owner.execute(f"CREATE TYPE {schema}.pair AS (a int, b int); CREATE SEQUENCE {schema}.numbers")
    await owner.execute(
        f"CREATE VIEW {schema}.seen AS SELECT 1 AS one;"
        f"CREATE STATISTICS {schema}.related ON email, first_name FROM {schema}.users;"
        f"CREATE FUNCTION {schema}.twice(n int) RETURNS int LANGUAGE sql RETURN n * 2"
    )
    file = tmp_path / "dump"
    done = run("pg_dump", "-Fc", "-f", file, superuser_url)
    assert done.returncode == 0, done.stderr
    return file, residents


async def is_served(config: Settings, residents: list[Resident]) -> None:
    async with serving(config) as api:
        for resident in (residents[0], residents[-1]):
            answer = await api.get("/users", headers=resident.headers)
            assert answer.status_code == 200, answer.text
            assert resident.canary in answer.text


async def foreign(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        return await ownership.foreign(connection, TENANTRY.owner)
    finally:
        await connection.close()


@pytest.mark.parametrize("options", [(), ("--no-owner", "--no-privileges")])
async def test_a_dump_restored_before_the_logins_exist_is_served_after_a_bootstrap(
    config: Settings,
    second: PostgresServer,
    dumped: tuple[Path, list[Resident]],
    options: tuple[str, ...],
) -> None:
    dump, residents = dumped
    url = await restored(dump, second, "copy", *options)
    there = at(config, url)
    done = await typed(there, "litestar", "bootstrap")
    assert done.code == 0, done.err
    assert f"TENANTS_MENDED={len(residents)}" in done.out.splitlines()
    assert await foreign(url) == []
    assert await examine(there) == []
    await is_served(there, residents)
    again = await typed(there, "litestar", "bootstrap")
    assert again.code == 0
    assert "MENDED" not in again.out
    assert "ADOPTED" not in again.out


async def test_a_dump_restored_where_the_logins_exist_is_served_after_a_bootstrap(
    config: Settings, second: PostgresServer, dumped: tuple[Path, list[Resident]]
) -> None:
    dump, residents = dumped
    other = second.superuser_url.rpartition("/")[0] + "/first"
    await bootstrap.bootstrap(other, owner_password=OWNER_PASSWORD, app_password=APP_PASSWORD)
    run("pg_restore", "--clean", "--if-exists", "-d", other, dump)
    for there in (at(config, await restored(dump, second, "copy")), at(config, other)):
        (found,) = [finding for finding in await examine(there) if finding.check == "tenants"]
        # The first database's bootstrap made the roles again, which are the whole server's.
        lack = "no role" if there.superuser_database_url != other else "a role without USAGE on its schema"
        slugs = repair.named([resident.slug for resident in residents])
        assert found.problem == f"22 with {lack} ({slugs}): run `litestar bootstrap`"
        async with serving(there) as api:
            assert (await api.get("/users", headers=residents[0].headers)).status_code == 503
        made = await bootstrap.bootstrap(
            there.require("superuser_database_url"),
            owner_password=OWNER_PASSWORD,
            app_password=APP_PASSWORD,
            settings=there,
        )
        assert made.mended == len(residents)
        assert await foreign(there.require("superuser_database_url")) == []
        assert await examine(there) == []
        await is_served(there, residents)


async def test_a_role_that_no_keeper_made_is_told_in_words(
    config: Settings, superuser: asyncpg.Connection, owner: asyncpg.Connection, residents: list[Resident]
) -> None:
    schema = residents[0].schema
    keeper = await owner.fetchval(
        "SELECT member::regrole::text FROM pg_auth_members WHERE roleid = $1::regrole AND admin_option",
        schema,
    )
    await superuser.execute(f"REVOKE {schema} FROM {keeper} CASCADE")
    with pytest.raises(roles.ForeignRoleError, match="the roles of bakery are not"):
        await repair.mend(owner)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("REVOKE {role} FROM tenantry_app", "1 with a role that the API's login may not set (bakery)"),
        ("REVOKE USAGE ON SCHEMA {role} FROM {role}", "1 with a role without USAGE on its schema (bakery)"),
        ("REVOKE SELECT ON {role}.users FROM {role}", "1 with a role without rights on its tables (bakery)"),
    ],
)
async def test_doctor_names_what_a_tenant_lacks_and_the_mending_gives_it(
    config: Settings,
    superuser: asyncpg.Connection,
    owner: asyncpg.Connection,
    residents: list[Resident],
    change: str,
    problem: str,
) -> None:
    schema = residents[0].schema
    keeper = await owner.fetchval(
        "SELECT member::regrole::text FROM pg_auth_members WHERE roleid = $1::regrole AND admin_option",
        schema,
    )
    await superuser.execute(f"SET ROLE {keeper if ' FROM tenantry_app' in change else 'tenantry_owner'}")
    await superuser.execute(change.format(role=schema))
    found = [finding.problem for finding in await examine(config)]
    assert found == [f"{problem}: run `litestar bootstrap`"]
    assert await repair.mend(owner) == 1
    assert await examine(config) == []


async def test_a_tenant_whose_schema_was_not_restored_is_named(
    config: Settings, owner: asyncpg.Connection, residents: list[Resident]
) -> None:
    assert await examine(config) == []
    await owner.execute(f"DROP SCHEMA {residents[0].schema} CASCADE")
    (found,) = await examine(config)
    assert found.problem == f"1 without a schema ({residents[0].slug}): restore it from a dump"
