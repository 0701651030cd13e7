"""Bodies of revisions as teams write them: each does the same on every path, or is refused at load with words.

A file of `tests/corpus` is the body of a revision. Its first line says what is expected: ``same``; ``online``,
which is the same apart from the empty schema's own way; or ``refused:`` and words of the reason.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import asyncpg
import msgspec
import pytest

from db.migrations.lineage import LineageError
from db.migrations.lineages import check
from db.migrations.render import downgrade_statements, is_online, render, render_down
from db.names import SchemaName
from tests.paths import BASE, Paths
from tests.revisions import lineage_of

CORPUS = Path(__file__).resolve().parents[1] / "corpus"


class Case(msgspec.Struct, frozen=True):
    """A file of the corpus.

    Args:
        name: the file's name.
        expected: the outcome.
        words: for a refusal, words of the reason.
        body: the revision's body.
    """

    name: str
    expected: Literal["same", "online", "refused"]
    words: str
    body: str

    @classmethod
    def read(cls, file: Path) -> "Case":
        body = file.read_text()
        expected, _, words = body.splitlines()[0].removeprefix("# ").partition(": ")
        assert expected in {"same", "online", "refused"}, file
        return cls(file.stem, expected, words, body)  # type: ignore[arg-type]


CASES = [Case.read(file) for file in sorted(CORPUS.glob("*.py"))]
RUNNABLE = [case for case in CASES if case.expected != "refused"]


@pytest.fixture
async def paths(owner_url: str, case: Case, tmp_path: Path) -> AsyncIterator[Paths]:
    owner = await asyncpg.connect(owner_url)
    yield Paths(owner, owner_url, lineage_of(tmp_path, BASE, case.body))
    await owner.close()


@pytest.mark.parametrize("case", RUNNABLE, ids=lambda case: case.name)
async def test_a_revision_does_the_same_on_every_path(case: Case, paths: Paths) -> None:
    check(paths.chain)
    reference, moved = await paths.fresh("r1"), await paths.fresh("r1")
    await paths.by_alembic(reference)
    await paths.by_move(moved)
    wanted = await paths.found(reference)
    assert await paths.found(moved) == wanted
    if case.expected == "same":
        signed_up = await paths.fresh("r2")
        assert await paths.found(signed_up) == wanted
    else:
        assert is_online(paths.chain.revisions[1].module)
        assert (await paths.found(await paths.fresh("r2")))[0] == wanted[0]
    await goes_back_the_same(paths, reference, moved)


async def goes_back_the_same(paths: Paths, reference: SchemaName, moved: SchemaName) -> None:
    """Take the revision back in two schemas, by Alembic and as we do."""
    script = paths.chain.revisions[1]
    if not is_online(script.module) and not downgrade_statements(paths.chain, script):
        return  # it cannot be taken back
    await paths.by_alembic(reference, up=False)
    await paths.by_move(moved, up=False)
    assert await paths.found(moved) == await paths.found(reference)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.expected == "refused"], ids=lambda case: case.name
)
def test_a_revision_that_would_not_is_refused_at_load(case: Case, tmp_path: Path) -> None:
    with pytest.raises(LineageError) as refused:
        check(lineage_of(tmp_path, BASE, case.body))
    assert "revision r2 (tenant lineage)" in str(refused.value)
    assert case.words in str(refused.value)


def test_a_script_is_what_a_dry_run_prints(tmp_path: Path) -> None:
    chain = lineage_of(tmp_path, BASE, CASES[0].body)
    assert render(chain, "r1", "r2").sql
    assert render_down(chain, "r2", "r1").sql
