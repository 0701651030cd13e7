"""OLDEST_SERVED: the oldest tenant revision that has all tables and columns which this release's code selects."""

import asyncpg
import pytest

from db import domain
from db.migrations.lineage import Lineage
from db.migrations.lineages import lineage
from db.migrations.render import render
from db.migrations.run import run_script
from db.models import access
from db.models.base import Base
from db.names import new_schema_name
from db.server import roles
from db.settings import Settings

MODELS = (access, domain)  # whose tables are in the metadata once they are imported
Columns = set[tuple[str, str]]


def selected() -> Columns:
    """Return the columns that the code knows, all of which it may select."""
    return {(table.name, column.name) for table in Base.metadata.tables.values() for column in table.columns}


async def columns_by_revision(owner: asyncpg.Connection, chain: Lineage) -> list[Columns]:
    """Return the columns that a tenant has at each revision, the oldest first."""
    found: list[Columns] = []
    for script in chain.revisions:
        schema = new_schema_name()
        async with owner.transaction():
            await roles.create_schema(owner, schema)
            await run_script(owner, schema, render(chain, None, script.revision))
            rows = await owner.fetch(
                "SELECT c.relname, a.attname FROM pg_catalog.pg_class c"
                " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
                " WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p')",
                schema,
            )
            await roles.drop_schema(owner, schema)
        found.append({(row["relname"], row["attname"]) for row in rows})
    return found


def oldest_that_has(columns: list[Columns], wanted: Columns) -> int:
    """Return the position from which on every revision has the wanted columns."""
    lacking = [at for at, had in enumerate(columns) if not wanted <= had]
    return max(lacking, default=-1) + 1


async def test_no_tenant_is_served_that_lacks_what_the_code_selects(
    owner: asyncpg.Connection, config: Settings
) -> None:
    chain = lineage("tenant", config.alembic_config)
    columns = await columns_by_revision(owner, chain)
    needed = oldest_that_has(columns, selected())
    assert needed < len(columns), f"no revision has {sorted(selected() - columns[-1])}"
    assert chain.position(domain.OLDEST_SERVED) >= needed, (
        f"OLDEST_SERVED must be {chain.revisions[needed].revision} or newer"
    )


@pytest.mark.parametrize(
    ("had", "needed"),
    [
        ([{("a", "x")}, {("a", "x"), ("b", "y")}], 1),
        ([{("a", "x"), ("b", "y")}, {("a", "x")}, {("a", "x"), ("b", "y")}], 2),  # dropped and made again
        ([{("a", "x")}], 1),
        ([{("a", "x"), ("b", "y")}], 0),
    ],
)
def test_the_oldest_is_the_one_from_which_on_nothing_lacks(had: list[Columns], needed: int) -> None:
    assert oldest_that_has(had, {("a", "x"), ("b", "y")}) == needed
