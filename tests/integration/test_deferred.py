"""Deferred constraints: checked at the end of each revision, as a commit of its own would."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from db import names
from db.migrations import run
from db.migrations.lineage import Lineage
from db.migrations.lineages import check
from db.migrations.render import render
from db.names import SchemaName
from db.server import roles
from tests.revisions import lineage_of

TABLES = """
def upgrade():
    op.execute("CREATE TABLE rooms (id int PRIMARY KEY)")
    op.execute(
        "CREATE TABLE desks (id int PRIMARY KEY, room int CONSTRAINT fk REFERENCES rooms {deferred},"
        " other int CONSTRAINT at_once REFERENCES rooms DEFERRABLE)"
    )
    op.execute("INSERT INTO rooms VALUES (1)")
    op.execute("INSERT INTO desks VALUES (1, 1)")
"""
FILLS = """
def upgrade():
    op.execute("INSERT INTO desks (id, room) VALUES (2, 9)")
    op.execute("INSERT INTO rooms VALUES (9)")
"""
ALTERS = """
def upgrade():
    op.execute("ALTER TABLE desks ADD COLUMN height int")
"""
BREAKS = """
def upgrade():
    op.execute("INSERT INTO desks (id, other) VALUES (3, 77)")
    op.execute("INSERT INTO rooms VALUES (77)")
"""
DEFERRED = TABLES.format(deferred="DEFERRABLE INITIALLY DEFERRED")


@pytest.fixture
async def owner(owner_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(owner_url)
    yield connection
    await connection.close()


async def built(owner: asyncpg.Connection, chain: Lineage, *ends: str) -> SchemaName:
    """Return a schema that has been brought from revision to revision, each time in a transaction."""
    schema = names.new_schema_name()
    start = None
    for end in ends:
        async with owner.transaction():
            if start is None:
                await roles.create_schema(owner, schema)
            await run.run_script(owner, schema, render(chain, start, end))
        start = end
    return schema


@pytest.mark.parametrize("ends", [("r4",), ("r1", "r4"), ("r1", "r2", "r3", "r4"), ("r2", "r4")])
async def test_a_table_with_deferred_rows_can_be_altered_by_the_next_revision(
    owner: asyncpg.Connection, tmp_path: Path, ends: tuple[str, ...]
) -> None:
    chain = lineage_of(tmp_path, DEFERRED, FILLS, ALTERS, FILLS.replace("2, 9", "4, 8").replace("(9)", "(8)"))
    check(chain)
    schema = await built(owner, chain, *ends)
    assert await owner.fetchval(f"SELECT count(*) FROM {schema}.desks WHERE height IS NULL") == 3


async def test_what_is_checked_at_once_still_is(owner: asyncpg.Connection, tmp_path: Path) -> None:
    chain = lineage_of(tmp_path, DEFERRED, FILLS, BREAKS)
    with pytest.raises(asyncpg.ForeignKeyViolationError, match="at_once"):
        await built(owner, chain, "r3")


async def test_a_lineage_that_defers_nothing_pays_nothing(tmp_path: Path) -> None:
    chain = lineage_of(tmp_path, TABLES.format(deferred=""), ALTERS)
    assert "SET CONSTRAINTS" not in render(chain, None, "r2").sql
