"""Autogenerate proposes nothing where models and schema say the same, whatever their defaults and partitions."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from db.migrations.comparison import compare_defaults, included, partitions
from db.session.connection import migration_path
from db.settings import PROJECT, Settings
from tests.migrations import release
from tests.paths import Paths
from tests.revisions import lineage_of
from tests.shell import BIN, alembic, typed

BODY = r"""
def upgrade():
    op.create_table(
        "notes",
        sa.Column("id", sa.Integer(), sa.Identity(), primary_key=True),
        sa.Column("quoted", sa.Text(), server_default="it's 50% of c:\\temp"),
        sa.Column("json", sa.JSON(), server_default=sa.text("'{\"a\": [1]}'")),
        sa.Column("jsonb", JSONB(), server_default=sa.text("'{}'::jsonb")),
        sa.Column("drawn", sa.Uuid(), server_default=sa.text("gen_random_uuid()")),
        sa.Column("moment", sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp()),
        sa.Column("number", sa.Numeric(10, 2), server_default="0"),
        sa.Column("flag", sa.Boolean(), server_default=sa.false()),
        sa.Column("list", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'")),
        sa.Column("loud", sa.Text(), sa.Computed("upper(quoted)", persisted=True)),
    )
    op.execute("CREATE TABLE visits (at date NOT NULL) PARTITION BY RANGE (at)")
    op.execute("CREATE TABLE visits_2024 PARTITION OF visits FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')")
    op.execute("CREATE TABLE visits_rest PARTITION OF visits DEFAULT")
"""


def models() -> sa.MetaData:
    """Return the models of `BODY`'s tables."""
    metadata = sa.MetaData()
    sa.Table(
        "notes",
        metadata,
        sa.Column("id", sa.Integer(), sa.Identity(), primary_key=True),
        sa.Column("quoted", sa.Text(), server_default="it's 50% of c:\\temp"),
        sa.Column("json", sa.JSON(), server_default=sa.text("'{\"a\": [1]}'")),
        sa.Column("jsonb", JSONB(), server_default="{}"),
        sa.Column("drawn", sa.Uuid(), server_default=sa.func.gen_random_uuid()),
        sa.Column("moment", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()")),
        sa.Column("number", sa.Numeric(10, 2), server_default=sa.text("0")),
        sa.Column("flag", sa.Boolean(), server_default=sa.text("false")),
        sa.Column("list", ARRAY(sa.Text()), server_default="{}"),
        sa.Column("loud", sa.Text(), sa.Computed("upper(quoted)", persisted=True)),
    )
    sa.Table(
        "visits", metadata, sa.Column("at", sa.Date(), nullable=False), postgresql_partition_by="RANGE (at)"
    )
    return metadata


@pytest.mark.parametrize(
    ("column", "default", "changed"),
    [
        ("quoted", None, False),
        ("quoted", "it's 51%", True),
        ("json", sa.text("'{\"a\": [2]}'"), True),
        ("drawn", sa.func.uuidv7(), True),
        ("number", sa.text("1"), True),
        ("flag", sa.true(), True),
        ("number", sa.text("no_such_function()"), True),
    ],
)
async def test_only_another_default_is_a_difference(
    owner_url: str, tmp_path: Path, column: str, default: Any, changed: bool
) -> None:
    imports = "from sqlalchemy.dialects.postgresql import JSONB\n"
    owner = await asyncpg.connect(owner_url)
    schema = await Paths(owner, owner_url, lineage_of(tmp_path, imports + BODY)).fresh("r1")
    await owner.close()
    metadata = models()
    if default is not None:
        metadata.tables["notes"].c[column].server_default = sa.DefaultClause(default)

    def differences(connection: sa.Connection) -> list[Any]:
        opts = {
            "compare_server_default": True,
            "include_name": included(schema, partitions(connection, schema)),
        }
        context = MigrationContext.configure(connection=connection, opts=opts)
        compare_defaults(context)
        return list(compare_metadata(context, metadata))

    engine = create_async_engine(
        make_url(owner_url).set(drivername="postgresql+asyncpg"),
        connect_args={"server_settings": {"search_path": migration_path(schema)}},
    )
    async with engine.connect() as connection:
        found = await connection.run_sync(differences)
        again = await connection.run_sync(differences)
    await engine.dispose()
    assert len(found) == changed
    assert len(again) == changed
    if changed:
        assert found[0][0][0] == "modify_default"
        assert found[0][0][3] == column


async def test_a_made_revision_is_formatted_and_passes(
    config: Settings, template: object, tmp_path: Path
) -> None:
    newer = release(config, tmp_path, "def upgrade():\n    op.drop_column('users', 'first_name')")
    ini = ("-c", str(newer.alembic_config))
    await alembic(newer, *ini, "revision", "--autogenerate", "-m", "it's back")
    made = one_named(tmp_path, "it_s_back")
    assert "op.add_column(" in made.read_text()
    await asyncio.to_thread(passes, made)
    done = await typed(newer, "alembic", *ini, "check")
    assert done.code == 0, done.out + done.err


async def test_an_empty_revision_has_the_imports_to_write_it_with_and_a_merge_has_none(
    config: Settings, template: object, tmp_path: Path
) -> None:
    newer = release(config, tmp_path, "def upgrade():\n    pass")
    ini = ("-c", str(newer.alembic_config))
    await alembic(newer, *ini, "revision", "-m", "to write")
    written = one_named(tmp_path, "to_write")
    text = written.read_text()
    assert "import sqlalchemy as sa\nfrom alembic import op\n" in text
    written.write_text(text.replace("    pass\n", "    op.execute(sa.text('SELECT 1'))\n"))
    await alembic(newer, *ini, "revision", "-m", "beside", "--head", "r1", "--splice")
    await alembic(newer, *ini, "merge", "heads", "-m", "both")
    merge = one_named(tmp_path, "both")
    assert "import" not in merge.read_text()
    await asyncio.to_thread(passes, merge)


def one_named(folder: Path, name: str) -> Path:
    """Return the tenant revision of a release that has this name."""
    (found,) = (folder / "alembic" / "versions" / "tenant").glob(f"*_{name}.py")
    return found


def passes(made: Path) -> None:
    """Check that nothing of a revision's style needs to be corrected."""
    for arguments in (("check",), ("format", "--check")):
        styled = subprocess.run(
            [BIN / "ruff", *arguments, "--stdin-filename", f"alembic/versions/tenant/{made.name}", "-"],
            cwd=PROJECT,
            input=made.read_bytes(),
            capture_output=True,
            check=False,
        )
        assert styled.returncode == 0, styled.stdout
