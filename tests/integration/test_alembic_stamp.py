"""``alembic stamp``: a tenant is at a revision if its schema is what the revision makes, and not because it is said."""

from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

from db.migrations.fingerprint import structure
from db.settings import Settings
from tests.isolation import Resident, settle
from tests.migrations import CHAIN, FITS, HEAD, registered, release, revisions, told
from tests.shell import Finished, alembic, typed
from tests.support import serving

NOTE = """
def upgrade():
    op.add_column("users", sa.Column("note", sa.Text()))

def downgrade():
    op.drop_column("users", "note")
"""


@pytest.fixture
async def bakery(owner: asyncpg.Connection, config: Settings) -> Resident:
    """A tenant at head."""
    (one,) = await settle(owner, config, ["bakery"])
    return one


@pytest.fixture
def newer(config: Settings, tmp_path: Path) -> Settings:
    """Settings of a release with a revision more, r1."""
    return release(config, tmp_path, NOTE)


async def stamp(config: Settings, *arguments: str) -> Finished:
    """Stamp the bakery."""
    ini = ("-c", str(config.alembic_config))
    return await typed(config, "alembic", *ini, "-x", "tenant=bakery", "stamp", *arguments)


async def test_a_stamp_that_does_not_fit_is_refused_and_says_what_differs(
    bakery: Resident, newer: Settings, owner: asyncpg.Connection
) -> None:
    before = await registered(owner, "bakery")
    for arguments in (("r1",), ("head",), ("--purge", "heads"), ("base",), (CHAIN.base,)):
        done = await stamp(newer, *arguments)
        assert done.code == 1, arguments
        assert "Traceback" not in done.err
        assert "bakery: nothing was stamped: the schema is not what" in done.err
    done = await stamp(newer, "r1")
    assert "it lacks:\n    column users.note" in done.err
    assert "it has beside" not in done.err
    assert await registered(owner, "bakery") == before
    assert (await revisions(owner, "bakery"))[2] == HEAD
    assert await told(owner, "tenant.migrated") == []


async def test_a_stamp_that_fits_changes_version_table_registry_and_ledger(
    bakery: Resident, newer: Settings, owner: asyncpg.Connection
) -> None:
    before = await registered(owner, "bakery")
    counts = "SELECT (SELECT count(*) FROM pg_namespace), (SELECT count(*) FROM pg_roles)"
    were = await owner.fetchrow(counts)
    await owner.execute(f"ALTER TABLE {bakery.schema}.users ADD COLUMN note text")
    assert (await stamp(newer, "r1")).code == 0
    assert await revisions(owner, "bakery") == ("r1", HEAD, "r1")
    assert await told(owner, "tenant.migrated") == ["r1"]
    assert (await registered(owner, "bakery")).version == before.version + 1
    assert await owner.fetchrow(counts) == were  # nothing is left of the scratch schema
    await alembic(
        newer, "-c", str(newer.alembic_config), "-x", "tenant=bakery", "downgrade", "-1"
    )  # it is what it says
    assert await revisions(owner, "bakery") == (HEAD, FITS, HEAD)
    done = await stamp(newer, "r1")
    assert done.code == 1, "the column is gone"


async def test_a_lost_version_table_is_written_again_with_its_rights(
    bakery: Resident, config: Settings, owner: asyncpg.Connection
) -> None:
    before = await structure(owner, bakery.schema)
    await owner.execute(f"DROP TABLE {bakery.schema}.alembic_version")
    await owner.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA {bakery.schema} FROM {bakery.schema}")
    assert (await stamp(config, HEAD[:8])).code == 0  # the beginning of an id, as everywhere
    assert await revisions(owner, "bakery") == (HEAD, FITS, HEAD)
    assert await structure(owner, bakery.schema) == before
    async with serving(config) as api:
        answer = await api.get("/users", headers=bakery.headers)
        assert answer.status_code == 200, answer.text


async def test_a_registry_that_says_otherwise_is_set_right(
    bakery: Resident, config: Settings, owner: asyncpg.Connection
) -> None:
    await owner.execute("UPDATE shared.tenants SET revision = NULL, compatible_from = NULL")
    assert (await stamp(config, "head")).code == 0
    assert await revisions(owner, "bakery") == (HEAD, FITS, HEAD)


async def test_what_a_version_table_should_not_hold_is_overwritten_on_demand(
    bakery: Resident, config: Settings, owner: asyncpg.Connection
) -> None:
    table = f"{bakery.schema}.alembic_version"
    await owner.execute(f"INSERT INTO {table} VALUES ('{CHAIN.base}')")
    done = await stamp(config, "head")
    assert done.code == 1
    assert "has 2 rows" in done.err
    await owner.execute(f"DELETE FROM {table}")
    await owner.execute(f"INSERT INTO {table} VALUES ('feedc0ffee00')")
    done = await stamp(config, "head")
    assert done.code == 1
    assert "it is at feedc0ffee00, which this release does not know; --purge overwrites it" in done.err
    assert (await stamp(config, "--purge", "head")).code == 0
    assert await revisions(owner, "bakery") == (HEAD, FITS, HEAD)


async def test_an_empty_schema_is_at_base(
    bakery: Resident, config: Settings, owner: asyncpg.Connection
) -> None:
    await alembic(config, "-x", "tenant=bakery", "downgrade", "base")
    await owner.execute(f"DROP TABLE {bakery.schema}.alembic_version")
    await owner.execute("UPDATE shared.tenants SET revision = $1", HEAD)
    assert (await stamp(config, "head")).code == 1
    assert (await stamp(config, "base")).code == 0
    assert (await registered(owner, "bakery")).revision is None
    await alembic(config, "-x", "tenant=bakery", "upgrade", "head")
    assert await revisions(owner, "bakery") == (HEAD, FITS, HEAD)


async def test_a_stamp_is_refused_where_it_names_nothing_or_is_not_its_turn(
    bakery: Resident, config: Settings, owner: asyncpg.Connection
) -> None:
    for arguments, words in (
        (("-x", "tenant=bakery", "stamp", "ffffffffffff"), "has no revision 'ffffffffffff'"),
        (("-x", "tenant=nobody", "stamp", "head"), "no tenant 'nobody'"),
        (("stamp", "head"), "one schema at a time"),
        (("-x", "tenant=all", "stamp", "head"), "one schema at a time"),
    ):
        done = await typed(config, "alembic", *arguments)
        assert done.code != 0
        assert words in done.err
        assert "Traceback" not in done.err
    hurried = replace(config, tenant_lock_wait=0.3)
    async with owner.transaction():
        await owner.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", str(bakery.id))
        done = await stamp(hurried, "head")
    assert done.code == 1
    assert "it is being worked on" in done.err
    assert await revisions(owner, "bakery") == (HEAD, FITS, HEAD)


async def test_a_stamp_is_printed_without_a_database_and_one_of_shared_is_as_it_was(
    config: Settings, owner: asyncpg.Connection
) -> None:
    away = replace(config, owner_database_url="postgresql://nobody@127.0.0.1:1/nothing")
    done = await alembic(away, "stamp", HEAD, "--sql")
    assert f"INSERT INTO alembic_version (version_num) VALUES ('{HEAD}')" in done.out
    done = await alembic(away, "-x", "tenant=shared", "stamp", "d6ba8c13303e", "--sql")
    assert "INSERT INTO shared.alembic_version" in done.out
    before = await owner.fetchval("SELECT version_num FROM shared.alembic_version")
    await alembic(config, "-x", "tenant=shared", "stamp", "d6ba8c13303e")
    assert await owner.fetchval("SELECT version_num FROM shared.alembic_version") == "d6ba8c13303e"
    await alembic(config, "-x", "tenant=public", "stamp", "head")
    assert await owner.fetchval("SELECT version_num FROM shared.alembic_version") == before
