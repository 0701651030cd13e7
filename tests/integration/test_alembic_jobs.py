"""``alembic upgrade head`` with several tenants at a time: as fast as asked for, and each tenant whole all the same."""

import asyncio
import signal
from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

from db.settings import Settings
from tests.isolation import settle
from tests.migrations import HEAD, ONLINE, registered, release, told
from tests.shell import alembic, going, typed, watched
from tests.support import eventually

SLUGS = ("bakery", "cafe", "deli", "florist", "grocer", "inn")

# `stays` says by which session a tenant was moved, and when its transaction began.
SLOW = """
def upgrade():
    op.execute("CREATE TABLE stays AS SELECT pg_backend_pid() AS pid, transaction_timestamp() AS began")
    op.execute("SELECT pg_sleep(0.4)")
    op.execute("ALTER TABLE stays ADD COLUMN ended timestamptz")
    op.execute("UPDATE stays SET ended = clock_timestamp()")

def downgrade():
    op.drop_table("stays")
"""


@pytest.fixture
async def fleet(owner: asyncpg.Connection, config: Settings) -> None:
    """Make some tenants."""
    await settle(owner, config, SLUGS)


async def at(owner: asyncpg.Connection, slug: str) -> str | None:
    """Return the revision of a tenant's schema, which the registry must say too."""
    tenant = await registered(owner, slug)
    own = await owner.fetchval(f"SELECT version_num FROM {tenant.schema_name}.alembic_version")
    assert tenant.revision == own, slug
    return tenant.revision


async def stays(owner: asyncpg.Connection) -> list[asyncpg.Record]:
    """Return who moved each tenant, from when to when."""
    schemas = [(await registered(owner, slug)).schema_name for slug in SLUGS]
    return [await owner.fetchrow(f"SELECT * FROM {schema}.stays") for schema in schemas]  # type: ignore[misc]


async def others(owner: asyncpg.Connection) -> int:
    """Return the number of the owner's other sessions in the database."""
    return int(
        await owner.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = current_user"
            " AND datname = current_database() AND pid <> pg_backend_pid()"
        )
    )


async def test_each_job_has_a_connection_of_its_own_and_takes_one_tenant_after_the_other(
    fleet: None, config: Settings, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    newer = release(config, tmp_path, SLOW)
    await alembic(newer, "-c", str(newer.alembic_config), "-x", "jobs=3", "upgrade", "head")
    assert [await at(owner, slug) for slug in SLUGS] == ["r1"] * len(SLUGS)
    assert sorted(await told(owner, "tenant.migrated")) == ["r1"] * len(SLUGS)
    found = await stays(owner)
    assert len({row["pid"] for row in found}) == 3
    assert max(sum(a["began"] < b["ended"] and b["began"] < a["ended"] for b in found) for a in found) == 3
    for row in found:  # a job's own tenants follow each other
        assert not any(
            row is not other and row["pid"] == other["pid"] and row["began"] < other["began"] < row["ended"]
            for other in found
        )


async def test_more_jobs_than_tenants_are_no_harm_and_one_tenant_may_be_named(
    fleet: None, config: Settings, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    newer = release(config, tmp_path, SLOW)
    ini = ("-c", str(newer.alembic_config))
    await alembic(newer, *ini, "-x", "jobs=32", "-x", "tenant=bakery", "upgrade", "head")
    assert [await at(owner, slug) for slug in ("bakery", "cafe")] == ["r1", HEAD]
    done = await alembic(newer, *ini, "-x", "jobs=4", "-x", "dry_run=True", "upgrade", "head")
    assert done.out.count("CREATE TABLE stays") == len(SLUGS) - 1
    assert await at(owner, "cafe") == HEAD
    await alembic(newer, *ini, "-x", "jobs=32", "upgrade", "head")
    assert [await at(owner, slug) for slug in SLUGS] == ["r1"] * len(SLUGS)


async def test_what_fails_is_told_with_slug_revision_and_error_and_the_others_are_moved(
    fleet: None, config: Settings, owner: asyncpg.Connection, superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    bakery, florist = [(await registered(owner, slug)) for slug in ("bakery", "florist")]
    await owner.execute(f"CREATE TABLE {bakery.schema_name}.stays (mine integer)")
    newer = replace(release(config, tmp_path, SLOW), tenant_lock_wait=0.3)
    ini = ("-c", str(newer.alembic_config))
    async with owner.transaction():
        await owner.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", str(florist.id))
        done = await typed(newer, "alembic", *ini, "-x", "jobs=2", "upgrade", "head")
    assert done.code == 1
    assert "Traceback" not in done.err
    assert "2 of 6 failed:" in done.err
    assert f'bakery: relation "stays" already exists (at {HEAD})' in done.err
    assert f"florist: it is being worked on; gave up after 0.3 s (at {HEAD})" in done.err
    assert "upgrade: 6 of 6, 2 failed" in done.err
    moved = [slug for slug in SLUGS if slug not in {"bakery", "florist"}]
    assert [await at(owner, slug) for slug in moved] == ["r1"] * 4
    assert [await at(owner, slug) for slug in ("bakery", "florist")] == [HEAD] * 2
    assert await owner.fetchval(f"SELECT count(*) FROM {bakery.schema_name}.stays") == 0
    await owner.execute(f"DROP TABLE {bakery.schema_name}.stays")
    await alembic(newer, *ini, "-x", "jobs=2", "upgrade", "head")
    assert [await at(owner, slug) for slug in SLUGS] == ["r1"] * len(SLUGS)


@pytest.mark.parametrize("jobs", ["1", "2"])
async def test_an_interrupt_leaves_each_tenant_whole_and_the_same_command_goes_on(
    fleet: None, config: Settings, owner: asyncpg.Connection, tmp_path: Path, jobs: str
) -> None:
    newer = release(config, tmp_path, SLOW)
    command = ("-c", str(newer.alembic_config), "-x", f"jobs={jobs}", "upgrade", "head")

    async def some() -> bool:
        return await at(owner, "bakery") == "r1"

    async with going(newer, "alembic", *command) as running:
        await eventually(some)
        await asyncio.sleep(0.1)  # the next ones are on their way
        running.signal(signal.SIGINT)
        done = await running.ended()
    assert done.code == 130
    assert "Traceback" not in done.err
    moved = [slug for slug in SLUGS if await at(owner, slug) == "r1"]
    assert 1 <= len(moved) < len(SLUGS)
    assert f"stopped after {len(moved)} of {len(SLUGS)}" in done.err
    for slug in SLUGS:
        schema = (await registered(owner, slug)).schema_name
        there = await owner.fetchval("SELECT to_regclass($1) IS NOT NULL", f"{schema}.stays")
        assert there is (slug in moved)
    assert sorted(await told(owner, "tenant.migrated")) == ["r1"] * len(moved)

    async def gone() -> bool:
        return await others(owner) == 0

    await eventually(gone, within=5)
    await alembic(newer, *command)
    assert [await at(owner, slug) for slug in SLUGS] == ["r1"] * len(SLUGS)


async def test_an_interrupt_of_the_question_is_a_no(
    fleet: None, config: Settings, owner: asyncpg.Connection
) -> None:
    async with going(config, "alembic", "downgrade", "-1") as running:
        await running.says("Go on?")
        done = await running.interrupted()
    assert done.code == 130
    assert "FAILED: stopped" in done.err
    assert "Traceback" not in done.err
    assert [await at(owner, slug) for slug in SLUGS] == [HEAD] * len(SLUGS)


async def test_revisions_that_run_online_take_turns_whatever_the_jobs(
    fleet: None, config: Settings, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    newer = release(config, tmp_path, ONLINE, SLOW)
    await alembic(newer, "-c", str(newer.alembic_config), "-x", "jobs=3", "upgrade", "head")
    assert [await at(owner, slug) for slug in SLUGS] == ["r2"] * len(SLUGS)
    assert sorted(await told(owner, "tenant.migrated")) == ["r1"] * len(SLUGS) + ["r2"] * len(SLUGS)
    for slug in SLUGS:
        schema = (await registered(owner, slug)).schema_name
        assert await owner.fetchval(f"SELECT users FROM {schema}.counted") == 1


async def test_at_a_terminal_there_is_a_bar_and_else_a_line(
    fleet: None, config: Settings, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    newer = release(config, tmp_path, SLOW)
    ini = ("-c", str(newer.alembic_config))
    done = await watched(newer, "alembic", *ini, "-x", "jobs=2", "upgrade", "head")
    assert done.code == 0, done.err
    assert "upgrade  [" in done.err
    assert "6/6" in done.err
    assert "#" in done.err
    quiet = await alembic(newer, *ini, "-x", "yes=True", "downgrade", HEAD)
    assert "downgrade: 6 of 6\n" in quiet.err
    assert "[" not in quiet.err
    one = await alembic(newer, *ini, "-x", "tenant=cafe", "upgrade", "head")
    assert "1 of 1" not in one.err


async def test_more_jobs_than_postgresql_has_connections_for_move_nobody(
    fleet: None, config: Settings, owner: asyncpg.Connection, superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    newer = release(config, tmp_path, SLOW)
    await superuser.execute("ALTER ROLE tenantry_owner CONNECTION LIMIT 3")  # one is the test's
    try:
        command = ("alembic", "-c", str(newer.alembic_config), "-x", "jobs=4", "upgrade", "head")
        done = await typed(newer, *command)
    finally:
        await superuser.execute("ALTER ROLE tenantry_owner CONNECTION LIMIT -1")
    assert done.code != 0
    assert "Traceback" not in done.err
    assert "no tenant was moved" in done.err
    assert "-x jobs=2 is the most" in done.err
    assert [await at(owner, slug) for slug in SLUGS] == [HEAD] * len(SLUGS)
