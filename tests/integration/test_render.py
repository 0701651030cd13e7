"""A rendered script does what Alembic's online run does, and refuses what would make the two differ."""

from pathlib import Path

import asyncpg
import pytest

from db import names
from db.migrations import run
from db.migrations.fingerprint import fingerprint, structure
from db.migrations.lineage import Lineage
from db.migrations.lineages import lineage
from db.migrations.render import NeedsOnlineError, RenderError, render
from db.names import SchemaName
from db.server import roles
from db.settings import Settings
from tests.paths import Paths
from tests.revisions import lineage_of
from tests.shell import alembic
from tests.support import Tenant


async def built(owner: asyncpg.Connection, chain: Lineage, end: str | None = None) -> SchemaName:
    """Return a fresh schema with the lineage rendered into it."""
    schema = names.new_schema_name()
    async with owner.transaction():
        await roles.create_schema(owner, schema)
        await run.run_script(owner, schema, render(chain, None, end or chain.head))
    return schema


async def rows(connection: asyncpg.Connection, schema: str) -> dict[str, list[tuple[object, ...]]]:
    """Return the rows of all tables of a schema, without what is drawn afresh for each."""
    tables = await connection.fetch(
        "SELECT table_name, string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position) AS columns"
        " FROM information_schema.columns WHERE table_schema = $1"
        " AND column_name <> ALL ('{uuid,created_at,updated_at}') GROUP BY 1",
        schema,
    )
    return {
        row["table_name"]: [
            tuple(found.values())
            for found in await connection.fetch(
                f"SELECT {row['columns']} FROM {schema}.{row['table_name']} ORDER BY 1"
            )
        ]
        for row in tables
    }


async def test_every_revision_rendered_equals_the_online_run(
    config: Settings, owner: asyncpg.Connection, tenant: Tenant
) -> None:
    chain = lineage("tenant", config.alembic_config)
    online = await owner.fetchval("SELECT schema_name FROM shared.tenants WHERE slug = $1", tenant.slug)
    await alembic(config, "-x", f"tenant={tenant.slug}", "downgrade", "base")
    for revision in (script.revision for script in chain.revisions if chain.is_alone(script.revision)):
        await alembic(config, "-x", f"tenant={tenant.slug}", "upgrade", revision)
        rendered = await built(owner, chain, revision)
        assert await structure(owner, rendered) == await structure(owner, online)
        assert await fingerprint(owner, rendered) == await fingerprint(owner, online)
        assert await rows(owner, rendered) == await rows(owner, online)


async def test_a_step_from_one_revision_to_the_next_equals_the_whole(
    config: Settings, owner: asyncpg.Connection
) -> None:
    chain = lineage("tenant", config.alembic_config)
    whole = await built(owner, chain)
    stepwise = await built(owner, chain, chain.base)
    paths = Paths(owner, config.require("owner_database_url"), chain)
    await paths.by_move(stepwise, before=chain.base, after=chain.head)  # revision by revision
    assert await structure(owner, stepwise) == await structure(owner, whole)


async def test_a_fingerprint_tells_when_a_column_was_changed_by_hand(
    config: Settings, owner: asyncpg.Connection
) -> None:
    chain = lineage("tenant", config.alembic_config)
    schema = await built(owner, chain)
    before = await fingerprint(owner, schema)
    await owner.execute(f"ALTER TABLE {schema}.users ALTER COLUMN first_name TYPE varchar(101)")
    assert await fingerprint(owner, schema) != before


def test_a_colon_that_would_become_null_is_refused(tmp_path: Path) -> None:
    chain = lineage_of(
        tmp_path, "def upgrade():\n    op.execute(\"CREATE TABLE a AS SELECT to_char(now(), 'HH :yy') AS t\")"
    )
    with pytest.raises(RenderError, match=":yy"):
        render(chain, None, "r1")


def test_an_escaped_colon_and_a_given_value_are_rendered(tmp_path: Path) -> None:
    chain = lineage_of(
        tmp_path,
        """
        def upgrade():
            op.execute("CREATE TABLE a AS SELECT 'HH\\\\:yy' AS t")
            op.execute(sa.text("INSERT INTO a VALUES (:t)").bindparams(t="it's"))
        """,
    )
    sql = render(chain, None, "r1").sql
    assert "'HH:yy'" in sql
    assert "VALUES ('it''s'::VARCHAR)" in sql


async def test_a_percent_sign_stays_one(tmp_path: Path, owner: asyncpg.Connection) -> None:
    chain = lineage_of(
        tmp_path,
        """
        def upgrade():
            op.create_table("a", sa.Column("t", sa.Text, sa.CheckConstraint("t LIKE 'a%'"), server_default="50%"))
            op.execute("INSERT INTO a VALUES ('a%b')")
        """,
    )
    schema = await built(owner, chain)
    assert await owner.fetchval(f"SELECT t FROM {schema}.a") == "a%b"


@pytest.mark.parametrize(
    "statement",
    [
        "COMMIT",
        "INSERT INTO a VALUES (1); COMMIT; SELECT 1",
        "/* quietly */ begin",
        "START TRANSACTION",
        "ROLLBACK",
        "CREATE INDEX CONCURRENTLY i ON a (b)",
    ],
)
def test_what_ends_or_escapes_the_transaction_is_refused(tmp_path: Path, statement: str) -> None:
    chain = lineage_of(tmp_path, f"def upgrade():\n    op.execute({statement!r})")
    with pytest.raises(RenderError):
        render(chain, None, "r1")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO a VALUES ('x; COMMIT; y')",
        "-- COMMIT\nSELECT 1",
        "DO $body$ BEGIN PERFORM 1; END $body$",
        "SELECT CASE WHEN true THEN 1 END",
        'CREATE TABLE "commit" (id int)',
        "SELECT E'\\'; COMMIT; --'",
    ],
)
def test_words_within_literals_comments_and_bodies_are_not_statements(tmp_path: Path, statement: str) -> None:
    chain = lineage_of(tmp_path, f"def upgrade():\n    op.execute({statement!r})")
    assert render(chain, None, "r1").end == "r1"


def test_a_concurrent_index_made_by_alembic_is_refused_too(tmp_path: Path) -> None:
    chain = lineage_of(
        tmp_path,
        """
        def upgrade():
            op.create_index("i", "a", ["b"], postgresql_concurrently=True)
        """,
    )
    with pytest.raises(RenderError, match="CONCURRENTLY"):
        render(chain, None, "r1")


async def test_an_online_revision_renders_from_nothing_by_its_own_word(
    tmp_path: Path, owner: asyncpg.Connection
) -> None:
    chain = lineage_of(
        tmp_path,
        "def upgrade():\n    op.execute('CREATE TABLE a (b int)')",
        """
        online = True

        def upgrade():
            with op.get_context().autocommit_block():
                op.execute("CREATE INDEX CONCURRENTLY i ON a (b)")

        def upgrade_empty():
            op.execute("CREATE INDEX i ON a (b)")
        """,
    )
    schema = await built(owner, chain)
    assert any(line.startswith("index a.i:") for line in await structure(owner, schema))
    with pytest.raises(NeedsOnlineError, match="r2"):
        render(chain, "r1", "r2")


async def test_a_failing_script_leaves_nothing(tmp_path: Path, owner: asyncpg.Connection) -> None:
    chain = lineage_of(
        tmp_path,
        "def upgrade():\n    op.execute('CREATE TABLE a (b int)')",
        "def upgrade():\n    op.execute('SELECT 1/0')",
    )
    schema = names.new_schema_name()
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with owner.transaction():
            await roles.create_schema(owner, schema)
            await run.run_script(owner, schema, render(chain, None, "r2"))
    assert await owner.fetchval("SELECT to_regnamespace($1)", schema) is None
    assert await owner.fetchval("SELECT to_regrole($1)", schema) is None


async def test_a_script_that_starts_elsewhere_is_refused(tmp_path: Path, owner: asyncpg.Connection) -> None:
    bodies = [f"def upgrade():\n    op.execute('CREATE TABLE {name} (b int)')" for name in ("a", "b", "c")]
    chain = lineage_of(tmp_path, *bodies)
    schema = await built(owner, chain, "r1")
    with pytest.raises(run.MigrationError, match="not at"):
        async with owner.transaction():
            await run.run_script(owner, schema, render(chain, "r2", "r3"))
