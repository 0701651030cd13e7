"""``compatible_from``: code of the revision that is named there finds all that it reads, and may write as before.

Structure tells: tables and columns are there, take what they took, and nothing new is asked of a row.
"""

import re
from pathlib import Path

import asyncpg
import msgspec
import pytest

from db.migrations.lineage import Lineage
from db.migrations.lineages import lineage
from db.migrations.render import render
from db.migrations.run import run_script
from db.names import SchemaName, new_schema_name
from db.server import roles
from db.settings import Settings
from tests.migrations import HEAD, release

_COLUMNS = """
SELECT c.relname AS table, a.attname AS column, format_type(a.atttypid, a.atttypmod) AS type,
  a.attnotnull AS needed, a.atthasdef OR a.attidentity <> '' AS filled
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p') AND c.relname <> 'alembic_version'
"""
_RULES = """
SELECT c.relname AS table, replace(pg_get_constraintdef(o.oid), $1::text || '.', '') AS rule,
  ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (o.conkey)) AS columns
FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
WHERE o.connamespace = $1::regnamespace AND o.contype IN ('c', 'u', 'x', 'f', 'p')
UNION ALL
SELECT c.relname, replace(pg_get_indexdef(i.indexrelid), $1::text || '.', ''),
  ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey))
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relnamespace = $1::regnamespace AND i.indisunique
  AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = i.indexrelid)
"""
_LENGTH = re.compile(r"character varying(?:\((\d+)\))?|text")


class Column(msgspec.Struct, frozen=True):
    """What a column takes."""

    type: str
    needed: bool
    filled: bool


class Promise(msgspec.Struct):
    """What code of a revision may rely on."""

    columns: dict[tuple[str, str], Column]
    rules: set[tuple[str, str, tuple[str, ...]]]

    def broken_by(self, later: "Promise") -> list[str]:
        """Return in words what a later revision breaks."""
        tables = {table for table, _ in self.columns}
        words = []
        for name, had in self.columns.items():
            has = later.columns.get(name)
            if has is None:
                words.append(f"{'.'.join(name)} is gone")
            elif not _takes(has.type, had.type):
                words.append(f"{'.'.join(name)} is {has.type}, and was {had.type}")
            elif has.needed and not had.needed:
                words.append(f"{'.'.join(name)} must not be null any more")
            elif had.filled and not has.filled:
                words.append(f"{'.'.join(name)} has no default any more")
        words += [
            f"{'.'.join(name)} must be given"
            for name, has in later.columns.items()
            if name[0] in tables and name not in self.columns and has.needed and not has.filled
        ]
        old = {column for _, column in self.columns}
        words += [
            f"{table}: {rule}"
            for table, rule, columns in later.rules - self.rules
            if table in tables and set(columns) <= old
        ]
        return words


def _takes(has: str, had: str) -> bool:
    """Return whether a type takes all values of another."""
    if has == had:
        return True
    longer, shorter = _LENGTH.fullmatch(has), _LENGTH.fullmatch(had)
    if longer is None or shorter is None:
        return False
    return longer[1] is None or (shorter[1] is not None and int(longer[1]) >= int(shorter[1]))


async def promise(owner: asyncpg.Connection, chain: Lineage, revision: str) -> Promise:
    """Return what code of a revision may rely on, as a schema of it tells."""
    schema: SchemaName = new_schema_name()
    async with owner.transaction():
        await roles.create_schema(owner, schema)
        await run_script(owner, schema, render(chain, None, revision))
        columns = await owner.fetch(_COLUMNS, schema)
        rules = await owner.fetch(_RULES, schema)
        await roles.drop_schema(owner, schema)
    return Promise(
        {(row["table"], row["column"]): Column(row["type"], row["needed"], row["filled"]) for row in columns},
        {(row["table"], row["rule"], tuple(sorted(row["columns"]))) for row in rules},
    )


async def test_code_of_the_oldest_compatible_revision_works_with_each_later_one(
    config: Settings, owner: asyncpg.Connection
) -> None:
    chain = lineage("tenant", config.alembic_config)
    promises = {script.revision: await promise(owner, chain, script.revision) for script in chain.revisions}
    for revision, later in promises.items():
        oldest = chain.compatible_from(revision)
        assert promises[oldest].broken_by(later) == [], f"{revision} is not compatible with code of {oldest}"


BREAKING = {
    "DROP TABLE users CASCADE": "users.id is gone",
    "ALTER TABLE users RENAME COLUMN first_name TO given_name": "users.first_name is gone",
    "ALTER TABLE users ALTER COLUMN first_name TYPE varchar(20)": "users.first_name is character varying(20)",
    "ALTER TABLE users ALTER COLUMN first_name SET NOT NULL": "users.first_name must not be null any more",
    "ALTER TABLE users ADD COLUMN colour text NOT NULL": "users.colour must be given",
    "ALTER TABLE users ALTER COLUMN created_at DROP DEFAULT": "users.created_at has no default any more",
    "ALTER TABLE users ADD CONSTRAINT named CHECK (first_name <> '')": "users: CHECK",
    "CREATE UNIQUE INDEX once ON users (last_name)": "users: CREATE UNIQUE INDEX once",
}


@pytest.mark.parametrize(("sql", "words"), BREAKING.items())
async def test_what_breaks_older_code_is_found(
    config: Settings, owner: asyncpg.Connection, tmp_path: Path, sql: str, words: str
) -> None:
    newer = release(config, tmp_path, f"\ndef upgrade():\n    op.execute({sql!r})\n")
    chain = lineage("tenant", newer.alembic_config)
    before, after = await promise(owner, chain, HEAD), await promise(owner, chain, "r1")
    assert any(said.startswith(words) for said in before.broken_by(after)), before.broken_by(after)


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE users ADD COLUMN colour text",
        "ALTER TABLE users ADD COLUMN colour text NOT NULL DEFAULT 'red'",
        "ALTER TABLE users ALTER COLUMN first_name TYPE text",
        "CREATE TABLE colours (id int PRIMARY KEY, name text NOT NULL UNIQUE)",
    ],
)
async def test_what_older_code_need_not_know_is_none(
    config: Settings, owner: asyncpg.Connection, tmp_path: Path, sql: str
) -> None:
    newer = release(config, tmp_path, f"\ndef upgrade():\n    op.execute({sql!r})\n")
    chain = lineage("tenant", newer.alembic_config)
    before, after = await promise(owner, chain, HEAD), await promise(owner, chain, "r1")
    assert before.broken_by(after) == []
