"""Drift: a schema that is not what its revision says is found, and each difference is named in words."""

import json
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from db.control import drift
from db.migrations import structures
from db.migrations.differences import describe
from db.migrations.fingerprint import structures as structures_of
from db.migrations.lineages import lineage
from db.migrations.structures import Structures
from db.settings import Settings
from tests.drifts import DRIFTS, OTHER
from tests.isolation import Resident, settle
from tests.migrations import CHAIN, HEAD, SCRIPT, release
from tests.shell import Finished, alembic, typed
from tests.structures import ALTERATIONS, EVERYTHING
from tests.support import Client, problem, requested


@pytest.fixture
async def bakery(owner: asyncpg.Connection, config: Settings) -> Resident:
    """An active tenant at head."""
    (one,) = await settle(owner, config, ["bakery"])
    return one


@pytest.fixture
def stored() -> Structures:
    """The structures as the API has them."""
    return Structures(CHAIN, builds=False)


async def alter(owner: asyncpg.Connection, one: Resident, sql: str) -> None:
    """Change a tenant's schema behind everybody's back."""
    async with owner.transaction():
        await owner.execute(f"SET LOCAL search_path TO {one.schema}")
        await owner.execute(sql.replace("{schema}", one.schema).replace("{tenant}", one.schema))


async def found(connection: asyncpg.Connection, stored: Structures) -> dict[str, list[str]]:
    """Return the differences of all tenants that have some."""
    report = drift.summed(await drift.verify_all(connection, stored))
    assert report.unchecked == []
    return {each.slug: each.differences for each in report.drifted}


async def verify(config: Settings, *arguments: str) -> Finished:
    """Run ``litestar tenants verify``, and return how it ended."""
    return await typed(config, "litestar", "tenants", "verify", *arguments)


@pytest.mark.parametrize(("sql", "words"), DRIFTS)
async def test_each_difference_is_named_in_words_to_both_logins_and_no_other_tenant_is_blamed(
    owner: asyncpg.Connection,
    app_login: asyncpg.Connection,
    config: Settings,
    stored: Structures,
    sql: str,
    words: list[str],
) -> None:
    one, _ = await settle(owner, config, ["bakery", "florist"])
    assert await found(app_login, stored) == {}
    await alter(owner, one, sql)
    assert await found(app_login, stored) == {"bakery": words}
    assert await found(owner, Structures(CHAIN, builds=True)) == {"bakery": words}


async def test_a_head_that_the_schema_does_not_have_is_found_and_the_true_revision_named(
    owner: asyncpg.Connection, config: Settings, bakery: Resident, stored: Structures
) -> None:
    await alembic(config, "-x", f"tenant={bakery.slug}", "downgrade", OTHER)
    assert await found(owner, stored) == {}
    await alter(owner, bakery, f"UPDATE alembic_version SET version_num = '{HEAD}'")
    assert await found(owner, stored) == {"bakery": [f"alembic_version: {OTHER} expected, {HEAD} found"]}
    await owner.execute("UPDATE shared.tenants SET revision = $1", HEAD)
    (differences,) = (await found(owner, stored)).values()
    assert differences[0].startswith(f"revision: {HEAD} expected, the structure of {OTHER}")
    assert differences[1].startswith("table ")
    assert differences[1].endswith(": missing")
    await alembic(config, "-x", f"tenant={bakery.slug}", "stamp", OTHER)
    assert await found(owner, stored) == {}


async def test_every_revision_is_what_it_says(
    owner: asyncpg.Connection, config: Settings, bakery: Resident, stored: Structures
) -> None:
    for script in reversed(CHAIN.revisions[:-1]):
        await alembic(config, "-x", f"tenant={bakery.slug}", "downgrade", script.revision)
        assert await found(owner, stored) == {}
    await alembic(config, "-x", f"tenant={bakery.slug}", "upgrade", "head")
    assert await found(owner, stored) == {}


async def test_suspended_and_deleted_tenants_are_compared_and_purged_and_waiting_ones_are_not(
    owner: asyncpg.Connection, config: Settings, stored: Structures, api: Client
) -> None:
    for one in await settle(owner, config, ["bakery", "cooper", "florist"]):
        await alter(owner, one, "ALTER TABLE users ADD note text")
    await owner.execute("UPDATE shared.tenants SET status = 'suspended' WHERE slug = 'bakery'")
    await owner.execute(
        "UPDATE shared.tenants SET status = 'deleted', status_before = 'active' WHERE slug = 'cooper'"
    )
    await owner.execute("UPDATE shared.tenants SET status = 'purged' WHERE slug = 'florist'")
    await requested(api, "grocer")
    words = ["users.note: not expected, text found"]
    assert await found(owner, stored) == {"bakery": words, "cooper": words}


async def test_many_tenants_are_one_query_and_some_seconds(
    owner: asyncpg.Connection, app_login: asyncpg.Connection, config: Settings, stored: Structures
) -> None:
    slugs = [f"shop{number:03}" for number in range(120)]
    made = [one for at in range(0, 120, 20) for one in await settle(owner, config, slugs[at : at + 20])]
    await alter(owner, made[70], "ALTER TABLE users ADD note text")
    tenants = await drift.list_(app_login, limit=200)
    started = time.monotonic()
    verdicts = await drift.verify(app_login, tenants, stored)
    assert time.monotonic() - started < 10
    assert [each.tenant.slug for each in verdicts] == slugs
    assert [each.tenant.slug for each in verdicts if each.differences] == ["shop070"]
    assert (await found(app_login, stored)).keys() == {"shop070"}


async def test_a_tenant_that_is_being_worked_on_is_not_blamed(
    owner: asyncpg.Connection, app_login: asyncpg.Connection, bakery: Resident, stored: Structures
) -> None:
    await alter(owner, bakery, "ALTER TABLE users ADD note text")
    await owner.execute("SELECT pg_advisory_lock(hashtextextended($1::text, 0))", str(bakery.id))
    report = drift.summed(await drift.verify_all(app_login, stored))
    assert (report.checked, report.drifted) == (0, [])
    assert [(each.slug, each.reason) for each in report.unchecked] == [("bakery", "it is being worked on")]
    await owner.execute("SELECT pg_advisory_unlock_all()")
    assert (await found(app_login, stored)).keys() == {"bakery"}


async def test_verify_writes_nothing(
    owner: asyncpg.Connection, superuser: asyncpg.Connection, config: Settings, bakery: Resident
) -> None:
    await owner.execute("DELETE FROM shared.structures")
    await alter(owner, bakery, "ALTER TABLE users ADD note text")
    before = await _everything(superuser)
    done = await verify(config, "--all")
    assert done.out.splitlines() == [
        f"bakery, at {HEAD}:",
        "  users.note: not expected, text found",
        "1 tenant was compared, 1 with drift",
    ]
    assert done.code == 1
    assert await _everything(superuser) == before


async def _everything(superuser: asyncpg.Connection) -> tuple[Any, ...]:
    """Return what verifying could have changed: rows of ``shared`` that were ever written, schemas, roles."""
    tables = await superuser.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'shared'::regnamespace AND relkind = 'r'"
    )
    rows = [
        await superuser.fetchval(
            f"SELECT coalesce(string_agg(t.xmin::text || t::text, '' ORDER BY t::text), '') FROM shared.{row[0]} t"
        )
        for row in tables
    ]
    schemas = await superuser.fetch("SELECT nspname, nspacl FROM pg_namespace ORDER BY 1")
    roles = await superuser.fetch("SELECT rolname FROM pg_roles ORDER BY 1")
    return rows, schemas, roles


async def test_the_shell_tells_by_its_exit_code_and_in_json(
    owner: asyncpg.Connection, config: Settings
) -> None:
    one, _ = await settle(owner, config, ["bakery", "florist"])
    done = await verify(config, "bakery")
    assert (done.code, done.out) == (0, "1 tenant was compared, 0 with drift\n")
    done = await verify(config, "--all")
    assert (done.code, done.out) == (0, "2 tenants were compared, 0 with drift\n")
    await alter(owner, one, "ALTER TABLE users ALTER first_name TYPE text")
    done = await verify(config, "--all", "--json")
    assert done.code == 1
    assert json.loads(done.out) == {
        "checked": 2,
        "drifted": [
            {
                "slug": "bakery",
                "revision": HEAD,
                "differences": ["users.first_name: varchar(100) expected, text found"],
            }
        ],
        "unchecked": [],
    }
    assert (await verify(config, "florist")).code == 0


async def test_one_tenant_is_verified_over_http(
    api: Client, owner: asyncpg.Connection, bakery: Resident, as_operator: dict[str, str]
) -> None:
    await structures.store(owner, CHAIN)
    assert (await api.post("/cc/tenants/bakery/verify", headers=as_operator)).json()["differences"] == []
    await alter(owner, bakery, "ALTER TABLE users ALTER COLUMN first_name TYPE text")
    answer = await api.post("/cc/tenants/bakery/verify", headers=as_operator, json={"reason": "a doubt"})
    assert answer.json() == {
        "slug": "bakery",
        "revision": HEAD,
        "differences": ["users.first_name: varchar(100) expected, text found"],
        "unchecked": None,
    }
    problem(await api.post("/cc/tenants/florist/verify", headers=as_operator), 404, "not-found")


async def test_the_control_center_lists_drift_page_by_page(
    api: Client, as_operator: dict[str, str], owner: asyncpg.Connection, config: Settings
) -> None:
    slugs = ["bakery", "cooper", "florist", "grocer"]
    for one in await settle(owner, config, slugs):
        if one.slug != "cooper":
            await alter(owner, one, "ALTER TABLE users ADD note text")
    words = ["users.note: not expected, text found"]
    answer = (await api.get("/cc/drift", headers=as_operator)).json()
    assert answer == {
        "items": [
            {"slug": slug, "revision": HEAD, "differences": words} for slug in ("bakery", "florist", "grocer")
        ],
        "next_cursor": None,
        "checked": 4,
        "unchecked": [],
    }
    first = (await api.get("/cc/drift", headers=as_operator, params={"limit": 2})).json()
    assert [item["slug"] for item in first["items"]] == ["bakery", "florist"]
    assert first["checked"] == 3
    rest = await api.get("/cc/drift", headers=as_operator, params={"cursor": first["next_cursor"]})
    assert [item["slug"] for item in rest.json()["items"]] == ["grocer"]
    assert rest.json()["next_cursor"] is None
    one = (await api.get("/cc/drift", headers=as_operator, params={"slug": "COOPER"})).json()
    assert (one["items"], one["checked"]) == ([], 1)
    problem(await api.get("/cc/drift", headers=as_operator, params={"slug": "nobody"}), 404, "not-found")
    await requested(api, "hatter")
    waiting = (await api.get("/cc/drift", headers=as_operator, params={"slug": "hatter"})).json()
    assert waiting["unchecked"] == [{"slug": "hatter", "revision": None, "reason": "it has no schema yet"}]


async def test_what_cannot_be_compared_is_said_and_never_counted_as_checked(
    api: Client, as_operator: dict[str, str], owner: asyncpg.Connection, config: Settings, bakery: Resident
) -> None:
    await owner.execute("DELETE FROM shared.structures")
    answer = (await api.get("/cc/drift", headers=as_operator)).json()
    assert (answer["items"], answer["checked"]) == ([], 0)
    assert "is not stored yet" in answer["unchecked"][0]["reason"]
    await alter(owner, bakery, "UPDATE alembic_version SET version_num = 'newer'")
    await owner.execute("UPDATE shared.tenants SET revision = 'newer'")
    answer = (await api.get("/cc/drift", headers=as_operator)).json()
    assert answer["unchecked"][0]["reason"] == "this release does not know revision newer"
    done = await verify(config, "--all")
    assert done.code == 1
    assert done.out.startswith("bakery was not compared: this release does not know revision newer\n")


async def test_structures_are_stored_once_and_again_where_what_they_come_from_is_new(
    owner: asyncpg.Connection, config: Settings, tmp_path: Path
) -> None:
    assert await structures.store(owner, CHAIN) == 0
    await owner.execute("DELETE FROM shared.structures WHERE revision = $1", HEAD)
    assert await structures.store(owner, CHAIN) == 1
    kept = await owner.fetch("SELECT digest FROM shared.structures")
    newer = lineage("tenant", release(config, tmp_path, SCRIPT).alembic_config)
    assert await structures.store(owner, newer) == 1
    assert len(await owner.fetch("SELECT digest FROM shared.structures")) == len(kept) + 1
    built = await Structures(CHAIN, builds=True).get(owner, HEAD)
    assert built == await structures.build(owner, CHAIN, HEAD)


async def test_every_kind_of_alteration_has_words(
    superuser: asyncpg.Connection, bakery: Resident, owner: asyncpg.Connection
) -> None:
    await alter(owner, bakery, EVERYTHING)
    before = (await structures_of(superuser, [bakery.schema]))[bakery.schema]
    wordless, lines = [], []
    for alteration, _ in ALTERATIONS:
        transaction = superuser.transaction()
        await transaction.start()
        await superuser.execute(f"SET LOCAL search_path TO {bakery.schema}, pg_temp")
        await superuser.execute(alteration.replace("{tenant}", bakery.schema))
        said = describe(before, (await structures_of(superuser, [bakery.schema]))[bakery.schema])
        await transaction.rollback()
        lines += said
        if not said or any("<tenant>." in line or "\n" in line for line in said):
            wordless.append((alteration, said))
    assert wordless == []
    assert set(lines) >= {
        "quick.twice: GENERATED VIRTUAL expected, GENERATED STORED found",
        "quick.twice: DEFAULT (a * 2) expected, DEFAULT (a * 3) found",
        "people.id: IDENTITY ALWAYS expected, IDENTITY BY DEFAULT found",
        "owner of table quick: the owner expected, tenantry_app found",
        "partitioned table other: not expected",
        'table "people.id\\nrelation b": not expected',
    }
