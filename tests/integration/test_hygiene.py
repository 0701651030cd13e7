"""Revisions take no lock on a table in use that they need not take: squawk reads each as it is rendered.

A revision that makes an index on a table with rows runs online, or waits for all writers. What is not asked for here,
and why, stands in `LEFT_OUT`.
"""

import subprocess
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from db.migrations.lineage import Lineage
from db.migrations.lineages import lineage
from db.migrations.render import render
from db.settings import PROJECT
from tests.shell import BIN

LEFT_OUT: Final = {
    "prefer-robust-stmts": "each revision is one transaction, so none is half done",
    "prefer-bigint-over-int": "a tenant's tables are small",
    "prefer-bigint-over-smallint": "as before",
    "prefer-text-field": "lengths are a rule of the house",
}
BEFORE_THE_FIRST_RELEASE: Final = {
    "7a5e2b80d3f4": {"require-concurrent-index-creation", "require-concurrent-index-deletion"},
    "c47e19a05d38": {"require-concurrent-index-creation"},
}
"""Revisions of ``shared`` that nobody has run on a ledger with many rows."""
BREAKS: Final = {
    *("ban-drop-table", "ban-drop-column", "renaming-column", "renaming-table", "changing-column-type"),
    *("adding-required-field", "require-concurrent-index-deletion"),
}
"""What a revision may do that says of itself that older code does not work with it, and is answered 503."""
TIMES: Final = "SET lock_timeout = '5s';\nSET statement_timeout = '1h';\n"
"""What every script has: the programs set the first, and bootstrap the second."""


def script(chain: Lineage, revision: str) -> str:
    """Return the statements that a revision adds to those before it."""
    before = chain.newest(chain.applied(revision) - {revision})
    statements = render(chain, before, revision).statements
    return TIMES + "".join(f"{statement.sql.strip().rstrip(';')};\n" for statement in statements)


def found(folder: Path, text: str) -> set[str]:
    """Return the names of the rules that a script breaks."""
    file = folder / "revision.sql"
    file.write_text(text)
    done = subprocess.run(
        [
            f"{BIN / 'squawk'}",
            *("--reporter", "json", "--pg-version", "16", "--assume-in-transaction"),
            *("--exclude", ",".join(LEFT_OUT)),
            f"{file}",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode in {0, 1}, done.stderr
    issues: list[dict[str, Any]] = msgspec.json.decode(done.stdout)
    return {issue["rule_name"] for issue in issues}


CHAINS = [lineage("shared", PROJECT / "alembic.ini"), lineage("tenant", PROJECT / "alembic.ini")]


@pytest.mark.parametrize(
    ("chain", "revision"),
    [
        (chain, script.revision)
        for chain in CHAINS
        for script in chain.revisions
        if chain.is_alone(script.revision)
    ],
    ids=lambda value: value.name if isinstance(value, Lineage) else value,
)
def test_a_revision_breaks_no_rule(tmp_path: Path, chain: Lineage, revision: str) -> None:
    broken = found(tmp_path, script(chain, revision))
    if chain.compatible_from(revision) == revision:
        broken -= BREAKS
    assert broken == BEFORE_THE_FIRST_RELEASE.get(revision, set())


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("CREATE INDEX i ON users (email);", "require-concurrent-index-creation"),
        ("ALTER TABLE users ADD COLUMN n int NOT NULL;", "adding-required-field"),
        ("ALTER TABLE users ALTER COLUMN email TYPE text;", "changing-column-type"),
        ("ALTER TABLE users DROP COLUMN email;", "ban-drop-column"),
        ("ALTER TABLE users ADD CONSTRAINT c CHECK (id > 0);", "constraint-missing-not-valid"),
    ],
)
def test_a_rule_that_is_broken_is_found(tmp_path: Path, sql: str, rule: str) -> None:
    assert rule in found(tmp_path, TIMES + sql)
