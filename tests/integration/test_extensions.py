"""Extensions: types, operators and index classes are found; nobody may add to them; what is missing is told."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner, Result

from api.cli.bootstrap import bootstrap_command
from api.cli.doctor import examine
from db import bootstrap
from db.migrations.lineages import lineage
from db.migrations.online import Online
from db.server import extensions
from db.settings import Settings
from tests.isolation import DENIED, Resident, settle, sqlstate
from tests.migrations import registered, release
from tests.processes import environment
from tests.rooms import REVISION, WANTED, RoomController
from tests.support import Client, problem, serving


@pytest.fixture
def wanting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the domain name extensions."""
    monkeypatch.setattr(extensions, "WANTED", WANTED)


@pytest.fixture
async def with_rooms(config: Settings, wanting: None, tmp_path: Path) -> Settings:
    """Settings of a release whose newest revision uses them, on a database where its provisioner started."""
    await bootstrap.migrate_shared(config.require("owner_database_url"), config)
    return release(config, tmp_path, REVISION)


@pytest.fixture
async def bakery(owner: asyncpg.Connection, with_rooms: Settings) -> Resident:
    """A tenant with rooms."""
    (one,) = await settle(owner, with_rooms, ["bakery"])
    return one


@pytest.fixture
async def rooms(with_rooms: Settings) -> AsyncIterator[Client]:
    """The API with the rooms."""
    async with serving(with_rooms, RoomController) as client:
        yield client


async def made(api: Client, resident: Resident, **fields: Any) -> dict[str, Any]:
    answer = await api.post("/rooms", headers=resident.headers, json=fields)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def found(api: Client, resident: Resident, **query: Any) -> list[str]:
    answer = await api.get("/rooms", headers=resident.headers, params=query)
    assert answer.status_code == 200, answer.text
    return [item["name"] for item in answer.json()["items"]]


async def test_citext_ignores_case_whatever_the_logins_own_search_path_is(
    rooms: Client, bakery: Resident, superuser: asyncpg.Connection
) -> None:
    name = await superuser.fetchval("SELECT current_database()")
    await superuser.execute(f"ALTER ROLE tenantry_app IN DATABASE {name} SET search_path = ''")
    assert (await made(rooms, bakery, name="Café"))["name"] == "Café"
    await made(rooms, bakery, name="attic")
    assert await found(rooms, bakery, name="cAFÉ") == ["Café"]
    assert await found(rooms, bakery, order="name") == ["attic", "Café"]
    page = await rooms.get("/rooms", headers=bakery.headers, params={"order": "name", "limit": 1})
    cursor = page.json()["next_cursor"]
    assert await found(rooms, bakery, order="name", limit=1, cursor=cursor) == ["Café"]
    taken = await rooms.post("/rooms", headers=bakery.headers, json={"name": "CAFÉ"})
    assert "uq_rooms_name" in problem(taken, 409, "conflict")["constraint"]


async def test_hstore_trigrams_and_exclusions_work_under_the_tenants_role(
    rooms: Client, bakery: Resident, owner: asyncpg.Connection
) -> None:
    features = {"light": "yes", 'with "quotes"': None, "": "a=>b"}
    assert (await made(rooms, bakery, name="a", features=features))["features"] == features
    await made(rooms, bakery, name="b", note="a quiet room upstairs", features={"light": "no"})
    assert await found(rooms, bakery, feature="light") == ["a"]
    assert await found(rooms, bakery, like="a quiet room upstair") == ["b"]
    booking = {"floor": 1, "booked": {"lower": "2026-01-01T10:00:00Z", "upper": "2026-01-01T12:00:00Z"}}
    await made(rooms, bakery, name="c", **booking)
    await made(rooms, bakery, name="d", **{**booking, "floor": 2})
    clash = await rooms.post("/rooms", headers=bakery.headers, json={"name": "e", **booking})
    assert "ex_rooms_booked" in problem(clash, 409, "conflict")["constraint"]
    index = f"{bakery.schema}.ix_rooms_note"
    assert "gin_trgm_ops" in await owner.fetchval("SELECT pg_get_indexdef($1::regclass)", index)


async def test_revisions_that_run_online_find_them_too(
    owner: asyncpg.Connection, config: Settings, wanting: None, tmp_path: Path
) -> None:
    await bootstrap.migrate_shared(config.require("owner_database_url"), config)
    (one,) = await settle(owner, config, ["bakery"])
    body = f"online = True\n{REVISION}\ndef upgrade_empty():\n    upgrade()\n"
    chain = lineage("tenant", release(config, tmp_path, body).alembic_config)
    online = Online(config.require("owner_database_url"), chain, lock_timeout=1)
    assert await online.upgrade(await registered(owner, "bakery"), chain.head)
    assert await owner.fetchval(f"SELECT count(*) FROM {one.schema}.rooms WHERE name = 'x'") == 0


ATTACKS = (
    "CREATE FUNCTION extensions.mine() RETURNS int LANGUAGE internal AS 'pg_backend_pid'",
    "CREATE TABLE extensions.mine (id int)",
    "CREATE TYPE extensions.mine AS (id int)",
    "CREATE DOMAIN extensions.mine AS text",
    "CREATE VIEW extensions.mine AS SELECT 1",
    "CREATE SEQUENCE extensions.mine",
    "CREATE OPERATOR extensions.= (FUNCTION = int4eq, LEFTARG = int4, RIGHTARG = int4)",
    "CREATE EXTENSION hstore SCHEMA extensions",
    "DROP SCHEMA extensions CASCADE",
    "ALTER SCHEMA extensions RENAME TO mine",
    "GRANT CREATE ON SCHEMA extensions TO PUBLIC",
)


async def test_nobody_but_the_owner_adds_to_the_schema_of_extensions(
    session: asyncpg.Connection, residents: list[Resident], superuser: asyncpg.Connection
) -> None:
    for role in ("NONE", residents[0].schema):
        await session.execute(f"SET LOCAL ROLE {role}")
        for statement in ATTACKS:
            code = await sqlstate(session, statement)
            # A GRANT of what one has not is a warning at most.
            assert code == DENIED or statement.startswith("GRANT"), (role, statement, code)
    creators = await superuser.fetch(extensions._CREATORS, "extensions")
    assert creators == []


FLAWS = {
    "GRANT CREATE ON SCHEMA extensions TO tenantry_app": "tenantry_app may create in extensions",
    "GRANT CREATE ON SCHEMA extensions TO PUBLIC": "PUBLIC may create in extensions",
    "ALTER SCHEMA extensions OWNER TO CURRENT_USER": "extensions is not the owner's",
    "REVOKE USAGE ON SCHEMA extensions FROM PUBLIC": "PUBLIC lacks USAGE on extensions",
    "DROP SCHEMA extensions": "there is no schema extensions",
}


@pytest.mark.parametrize("change", FLAWS)
async def test_doctor_names_each_flaw_and_a_repeated_bootstrap_puts_it_right(
    config: Settings, superuser: asyncpg.Connection, change: str
) -> None:
    assert await examine(config) == []
    await superuser.execute(change)
    (finding,) = await examine(config)
    assert finding.check == "extensions"
    assert finding.problem.startswith(FLAWS[change])
    assert "bootstrap" in finding.problem
    await bootstrap.prepare_database(superuser)
    assert await examine(config) == []


async def test_doctor_names_what_is_no_extensions_and_what_is_missing(
    config: Settings, owner: asyncpg.Connection, superuser: asyncpg.Connection, wanting: None
) -> None:
    assert [finding.problem for finding in await examine(config)] == [
        f"{name} is not installed: run `litestar bootstrap` again" for name in WANTED
    ]
    await bootstrap.prepare_database(superuser)
    assert await examine(config) == []
    await owner.execute("CREATE FUNCTION extensions.lower(citext) RETURNS text LANGUAGE sql RETURN 'forged'")
    assert [finding.problem for finding in await examine(config)] == [
        "function lower in extensions is no extension's: drop it"
    ]
    await owner.execute("DROP FUNCTION extensions.lower(extensions.citext)")
    await superuser.execute("CREATE SCHEMA elsewhere; ALTER EXTENSION citext SET SCHEMA elsewhere")
    (finding,) = await examine(config)
    assert 'ALTER EXTENSION "citext" SET SCHEMA extensions' in finding.problem


async def test_the_owners_start_makes_the_schema_where_an_older_release_was_bootstrapped(
    config: Settings, superuser: asyncpg.Connection
) -> None:
    await superuser.execute("DROP SCHEMA extensions")
    owner_url = config.require("owner_database_url")
    await asyncio.gather(*(bootstrap.migrate_shared(owner_url, config) for _ in range(3)))
    assert await examine(config) == []


async def typed(config: Settings, monkeypatch: pytest.MonkeyPatch, *wanted: str) -> Result:
    """Run ``litestar bootstrap`` for a domain that names these extensions."""
    monkeypatch.setattr(extensions, "WANTED", wanted)
    settings = environment(config)
    return await asyncio.to_thread(CliRunner().invoke, bootstrap_command, [], env=settings)


async def test_an_extension_that_cannot_be_had_is_refused_in_words(
    config: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = await typed(config, monkeypatch, "citext", "no_such_thing")
    assert lacking.exit_code == 1
    assert "this server has no extension no_such_thing: install the package" in lacking.output
    unsafe = await typed(config, monkeypatch, "tablefunc")
    assert unsafe.exit_code == 1
    assert "tablefunc is refused" in unsafe.output
    with pytest.raises(extensions.ExtensionError, match="refused"):
        await bootstrap.migrate_shared(config.require("owner_database_url"), config)


async def test_what_only_a_superuser_may_install_is_left_to_bootstrap(
    config: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extensions, "WANTED", ("pageinspect",))
    with pytest.raises(extensions.ExtensionError, match="run `litestar bootstrap`"):
        await bootstrap.migrate_shared(config.require("owner_database_url"), config)
    assert (await typed(config, monkeypatch, "pageinspect")).exit_code == 0
    await bootstrap.migrate_shared(config.require("owner_database_url"), config)
    assert await examine(config) == []
