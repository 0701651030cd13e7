"""``alembic`` over the fleet: one plan for all, nobody taken too far back, and what fails is one tenant's own."""

from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

from db.settings import Settings
from tests.migrations import BEFORE, CHAIN, HEAD, registered, release
from tests.operators import Operator
from tests.shell import Finished, alembic, typed, typed_at_terminal
from tests.support import Client, Service, Tenant, sign_up

NOTE = """
def upgrade():
    op.add_column("users", sa.Column("note", sa.Text()))

def downgrade():
    op.drop_column("users", "note")
"""


@pytest.fixture
async def fleet(api: Client, tenant: Tenant, provisioner: Service) -> None:
    """Sign up two tenants beside the bakery."""
    for slug in ("cafe", "florist"):
        await sign_up(api, slug)


async def at(owner: asyncpg.Connection, slug: str) -> str | None:
    """Return the revision of a tenant's schema, which the registry must say too."""
    tenant = await registered(owner, slug)
    own = await owner.fetchval(f"SELECT version_num FROM {tenant.schema_name}.alembic_version")
    assert tenant.revision == own
    return tenant.revision


async def refused(config: Settings, *arguments: str) -> Finished:
    """Run ``alembic``, which must fail without a traceback."""
    done = await typed(config, "alembic", *arguments)
    assert done.code != 0, done.out
    assert "Traceback" not in done.err
    return done


async def test_a_step_down_leaves_the_tenant_that_has_lagged_behind(
    fleet: None, config: Settings, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    newer = release(config, tmp_path, NOTE)
    ini = str(newer.alembic_config)
    await alembic(newer, "-c", ini, "upgrade", "head")
    await alembic(newer, "-c", ini, "-x", "tenant=cafe", "downgrade", "-1")
    done = await alembic(newer, "-c", ini, "-x", "yes=True", "downgrade", "-1")
    assert [await at(owner, slug) for slug in ("bakery", "cafe", "florist")] == [HEAD] * 3
    assert "from r1: 2 (bakery, florist)" in done.out
    assert f"not moved, since at {HEAD} or below: 1 (cafe)" in done.out


async def test_a_deleted_tenant_that_can_be_restored_comes_along(
    fleet: None, config: Settings, owner: asyncpg.Connection, api: Client, operator_token: str
) -> None:
    operator = Operator(api, operator_token)
    headers = {"authorization": f"Bearer {operator_token}"}
    assert (await api.delete("/cc/tenants/cafe", headers=headers)).status_code in {200, 202, 204}
    assert (await operator.sees("cafe"))["status"] == "deleted"
    await alembic(config, "-x", "yes=True", "downgrade", BEFORE)
    assert await at(owner, "cafe") == BEFORE
    await alembic(config, "upgrade", "head")
    assert await at(owner, "cafe") == HEAD


async def test_a_plan_says_what_is_dropped_before_anything_is(
    fleet: None, config: Settings, owner: asyncpg.Connection
) -> None:
    for arguments in ((), ("-x", "tenant=all")):
        done = await refused(config, *arguments, "downgrade", "base")
        assert "nothing was done" in done.err + done.out
        assert f"from {HEAD}: 3 (bakery, cafe, florist)" in done.out
        assert "drops with all rows: DROP TABLE users" in done.out
    assert [await at(owner, slug) for slug in ("bakery", "cafe", "florist")] == [HEAD] * 3
    done = await alembic(config, "-x", "yes=True", "-x", "tenant=all", "downgrade", "base")
    assert "drops with all rows: DROP TABLE users" in done.out
    assert await at(owner, "florist") is None
    await alembic(config, "upgrade", "head")
    assert await at(owner, "florist") == HEAD


@pytest.mark.parametrize(("said", "moved"), [("yes", True), ("", False), ("no", False)])
async def test_at_a_terminal_a_fleet_downgrade_asks(
    tenant: Tenant, config: Settings, owner: asyncpg.Connection, said: str, moved: bool
) -> None:
    done = await typed_at_terminal(config, said, "alembic", "downgrade", BEFORE)
    assert "Go on?" in done.out + done.err
    assert (done.code == 0) is moved, done.err
    assert await at(owner, "bakery") == (BEFORE if moved else HEAD)


async def test_one_tenant_is_not_asked_for(fleet: None, config: Settings, owner: asyncpg.Connection) -> None:
    await alembic(config, "-x", "tenant=cafe", "downgrade", BEFORE)
    assert [await at(owner, slug) for slug in ("bakery", "cafe", "florist")] == [HEAD, BEFORE, HEAD]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-x", "dry_run", "-x", "tenant=bakery"), "dry_run: has no value"),
        (("-x", "dry_run=", "-x", "tenant=bakery"), "dry_run: has no value"),
        (("-x", "tenant="), "tenant: has no value"),
        (("-x", "tenant= "), "tenant: has no value"),
        (("-x", "tenant"), "tenant: has no value"),
        (("-x", "tenant=bakery", "-x", "tenant=cafe"), "tenant: given twice"),
        (("-x", "tenants=bakery"), "tenants: unknown"),
        (("-x", "=bakery"), "unknown"),
        (("-x", "tenant=bakery", "-x", "yes"), "yes: has no value"),
        (("-x", "tenant=bakery", "-x", "yes=perhaps"), "True or False"),
        (("-x", "tenant=bakery", "-x", "dry_run=perhaps"), "True or False"),
        (("-x", "jobs=2", "-x", "yes=True"), "jobs=2: only upgrade knows it: a downgrade takes one tenant"),
        (("-x", "jobs="), "jobs: has no value; write -x jobs=4"),
        (("-x", "jobs=0"), "jobs=0: expected a whole number from 1 to 32"),
        (("-x", "jobs=33"), "a whole number from 1 to 32"),
        (("-x", "jobs=-1"), "a whole number from 1 to 32"),
        (("-x", "jobs=two"), "a whole number from 1 to 32"),
        (("-x", "jobs=2.5"), "a whole number from 1 to 32"),
        (("-x", "jobs=\u0664"), "a whole number from 1 to 32"),
        (("-x", "job=2"), "job: unknown; known are tenant, dry_run, yes, jobs"),
        (("-x", "tenant=nobody"), "nobody"),
    ],
)
async def test_arguments_that_mean_nothing_are_refused_and_nothing_is_done(
    tenant: Tenant, config: Settings, owner: asyncpg.Connection, arguments: tuple[str, ...], words: str
) -> None:
    done = await refused(config, *arguments, "downgrade", "-1")
    assert words in done.err + done.out
    assert await at(owner, "bakery") == HEAD


@pytest.mark.parametrize("destination", ["-9", "ffffffffffff", f"{CHAIN.base}-5", "+1"])
async def test_a_destination_that_is_not_there_is_refused(
    tenant: Tenant, config: Settings, owner: asyncpg.Connection, destination: str
) -> None:
    await refused(config, "-x", "tenant=bakery", "downgrade", "--", destination)
    assert await at(owner, "bakery") == HEAD


async def test_what_fails_in_one_tenant_is_reported_and_the_others_are_moved(
    fleet: None, config: Settings, owner: asyncpg.Connection, superuser: asyncpg.Connection
) -> None:
    await alembic(config, "-x", "yes=True", "downgrade", CHAIN.base)
    bakery, cafe = [(await registered(owner, slug)).schema_name for slug in ("bakery", "cafe")]
    await superuser.execute(
        f"ALTER TABLE {bakery}.roles OWNER TO {(await superuser.fetchval('SELECT user'))}"
    )
    await owner.execute(f"INSERT INTO {cafe}.alembic_version VALUES ('{HEAD}')")
    done = await refused(config, "upgrade", "head")
    assert "2 of 3 failed" in done.err
    assert "bakery: permission denied for table roles" in done.err
    assert "cafe: " in done.err
    assert "has 2 rows" in done.err
    assert await at(owner, "florist") == HEAD
    assert (await registered(owner, "bakery")).revision == CHAIN.base
    await owner.execute(f"DELETE FROM {cafe}.alembic_version WHERE version_num = '{HEAD}'")
    await superuser.execute(f"ALTER TABLE {bakery}.roles OWNER TO tenantry_owner")
    await alembic(config, "upgrade", "head")
    assert [await at(owner, slug) for slug in ("bakery", "cafe")] == [HEAD] * 2


async def test_a_revision_that_cannot_be_taken_back_keeps_all_where_they_are(
    fleet: None, config: Settings, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    newer = release(
        config,
        tmp_path,
        "def upgrade():\n    op.add_column('users', sa.Column('note', sa.Text()))\n\n"
        "def downgrade():\n    raise NotImplementedError('the notes would be lost')",
        "def upgrade():\n    op.add_column('users', sa.Column('more', sa.Text()))",
    )
    ini = str(newer.alembic_config)
    await alembic(newer, "-c", ini, "upgrade", "head")
    done = await refused(newer, "-c", ini, "-x", "yes=True", "downgrade", HEAD)
    assert "the notes would be lost" in done.err
    assert "revision r1 (tenant lineage)" in done.err
    assert [await at(owner, slug) for slug in ("bakery", "cafe")] == ["r2"] * 2
    done = await refused(config, "-x", "yes=True", "downgrade", "-1")
    assert "does not know" in done.err  # the older release cannot say what one step is
    done = await refused(config, "upgrade", "head")
    assert "3 of 3 failed" in done.err
    assert [await at(owner, slug) for slug in ("bakery", "cafe")] == ["r2"] * 2


async def test_a_dry_run_over_the_fleet_prints_each_tenants_script_and_changes_nothing(
    fleet: None, config: Settings, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    newer = release(config, tmp_path, NOTE)
    ini = str(newer.alembic_config)
    for slug in ("bakery", "florist"):
        await alembic(newer, "-c", ini, "-x", f"tenant={slug}", "upgrade", "head")
    done = await alembic(newer, "-c", ini, "-x", "dry_run=True", "downgrade", HEAD)
    assert "-- bakery, at r1" in done.out
    assert f"-- cafe, at {HEAD}" in done.out
    assert done.out.count("DROP COLUMN note") == done.out.count(f"SET version_num='{HEAD}'") == 2
    assert [await at(owner, slug) for slug in ("bakery", "cafe", "florist")] == ["r1", HEAD, "r1"]


async def test_sql_between_two_revisions_is_printed_without_a_database(
    config: Settings, tmp_path: Path
) -> None:
    newer = release(config, tmp_path, NOTE, "def upgrade():\n    op.execute('CREATE TABLE a (b int)')")
    ini = str(newer.alembic_config)
    done = await alembic(newer, "-c", ini, "upgrade", f"{CHAIN.base}:head", "--sql")
    assert "SET version_num='r2'" in done.out
    assert "CREATE TABLE users" not in done.out
    done = await alembic(newer, "-c", ini, "downgrade", f"r2:{HEAD}", "--sql")
    assert "DROP COLUMN note" in done.out
    assert f"SET version_num='{HEAD}'" in done.out
    done = await alembic(newer, "-c", ini, "downgrade", f"r1:{CHAIN.base}", "--sql")
    assert f"-- downgrade {HEAD} -> " in done.out


async def test_history_is_printed_once_and_without_a_database(config: Settings) -> None:
    away = replace(config, owner_database_url="postgresql://nobody@127.0.0.1:1/nothing")
    done = await alembic(away, "history")
    assert done.out.count(f"-> {HEAD}") == 1
    assert done.out.count("<base> ->") == 2
    done = await alembic(away, "-x", "tenant=shared", "history", "-r", "base:head")
    assert f"-> {HEAD}" not in done.out
    done = await refused(config, "history", "-i")
    assert "one schema at a time" in done.err + done.out


async def test_history_tells_what_a_tenant_is_at(tenant: Tenant, config: Settings) -> None:
    await alembic(config, "-x", "tenant=bakery", "downgrade", "-1")
    done = await alembic(config, "-x", "tenant=bakery", "history", "-i")
    (line,) = [line for line in done.out.splitlines() if f"-> {BEFORE}" in line]
    assert "(current)" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-x", "tenant=bakery", "upgrade", ""), "is empty"),
        (("-x", "tenant=bakery", "stamp", HEAD, BEFORE), "stamp one revision"),
        (("-x", "tenant=bakery", "-x", "dry_run=True", "stamp", BEFORE), "--sql prints"),
        (("-x", "tenant=shared", "downgrade", "base"), "there is no terminal to ask at"),
        (("-x", "jobs=2", "current"), "jobs=2: only upgrade knows it"),
        (("-x", "jobs=2", "-x", "tenant=bakery", "stamp", HEAD), "jobs=2: only upgrade knows it"),
        (("upgrade", f"{HEAD}:{BEFORE}", "--sql"), f"no upgrade from {HEAD} to {BEFORE}"),
        (("downgrade", f"{BEFORE}:head", "--sql"), f"no downgrade from {BEFORE} to {HEAD}"),
    ],
)
async def test_what_would_destroy_or_mean_nothing_is_refused_with_words(
    fleet: None, config: Settings, owner: asyncpg.Connection, arguments: tuple[str, ...], words: str
) -> None:
    assert words in (await refused(config, *arguments)).err
    assert await at(owner, "bakery") == HEAD


async def test_sql_from_head_is_counted_in_the_one_lineage(config: Settings) -> None:
    done = await alembic(config, "downgrade", "head:-1", "--sql")
    assert f"-- downgrade {HEAD} -> {BEFORE}" in done.out
