"""Lineages are checked once, at load: declarations, heads, merges. A refusal says the same words everywhere."""

import asyncio
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from db.migrations.fingerprint import structure
from db.migrations.lineage import Lineage, LineageError
from db.migrations.lineages import check, lineage, not_idempotent
from db.settings import PROJECT, Settings
from tests.migrations import CHAIN, HEAD, ONLINE, registered, release, revisions
from tests.processes import environment
from tests.revisions import lineage_of
from tests.shell import alembic, typed
from tests.support import Client, Service, Tenant, sign_up

EMPTY = "def upgrade():\n    pass"


def test_both_lineages_of_the_project_pass(config: Settings) -> None:
    for name in ("shared", "tenant"):
        chain = lineage(name, config.alembic_config)
        assert chain.is_alone(chain.head)
        # A team may join branches of the tenants' lineage; the shared one is the house's.
        assert name == "tenant" or all(chain.is_alone(script.revision) for script in chain.revisions)
        assert not_idempotent(chain) == []


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("compatible_from = 'r2'", "neither the revision itself nor one before it"),
        ("compatible_from = None", "name one revision"),
        ("compatible_from = ('r1',)", "name one revision"),
        ("del compatible_from", "name one revision"),
        ("online = 'yes'", "online must be True or False"),
        ("idempotent = True", "idempotent = True is for revisions with online = True"),
        ("online = True", "needs an upgrade_empty()"),
        ("del upgrade", "there is no upgrade()"),
        ("upgrade = 5", "there is no upgrade()"),
    ],
)
def test_a_declaration_that_is_not_one_is_refused(tmp_path: Path, header: str, words: str) -> None:
    chain = lineage_of(tmp_path, f"{EMPTY}\n\n\ndef downgrade():\n    pass\n\n\n{header}\n", EMPTY)
    with pytest.raises(LineageError, match=r"revision r1 \(tenant lineage\): ") as refused:
        check(chain)
    assert words in str(refused.value)


def test_an_id_that_does_not_fit_the_version_table_is_refused(tmp_path: Path) -> None:
    chain = lineage_of(tmp_path, EMPTY)
    file = tmp_path / "versions" / "tenant" / "r1.py"
    file.write_text(file.read_text().replace("'r1'", f"'{'r' * 33}'"))
    with pytest.raises(LineageError, match="32 at most"):
        check(Lineage("tenant", tmp_path / "alembic.ini"))
    assert chain.head == "r1"


def test_an_id_that_the_command_would_misread_is_refused(tmp_path: Path) -> None:
    lineage_of(tmp_path, EMPTY)
    file = tmp_path / "versions" / "tenant" / "r1.py"
    file.write_text(file.read_text().replace("'r1'", "'head'"))
    with pytest.raises(LineageError, match="something else to the alembic command"):
        check(Lineage("tenant", tmp_path / "alembic.ini"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "revision = 'r2'\ndown_revision = 'r1'",
            "revision = 'r1'\ndown_revision = None",
            "two files say revision 'r1'",
        ),
        ("down_revision = 'r1'", "down_revision = 'r0'", "names 'r0', which no file has"),
        ("down_revision = 'r1'", "down_revision = 'r1'\ndepends_on = 'r9'", "names 'r9', which no file has"),
    ],
)
@pytest.mark.filterwarnings("ignore:Revision ")  # Alembic warns too
def test_files_that_do_not_fit_together_are_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    lineage_of(tmp_path, EMPTY, EMPTY, EMPTY)
    file = tmp_path / "versions" / "tenant" / "r2.py"
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(LineageError) as refused:
        Lineage("tenant", tmp_path / "alembic.ini")
    assert words in str(refused.value)


@pytest.mark.parametrize("text", ["def upgrade(:", "import nothing_of_this_name"])
def test_a_file_that_cannot_be_read_is_refused_with_words(tmp_path: Path, text: str) -> None:
    lineage_of(tmp_path, EMPTY)
    (tmp_path / "versions" / "tenant" / "r2.py").write_text(text)
    with pytest.raises(LineageError, match="the tenant lineage cannot be read: "):
        Lineage("tenant", tmp_path / "alembic.ini")


def test_two_heads_are_refused_and_named(tmp_path: Path) -> None:
    lineage_of(tmp_path, EMPTY, EMPTY)
    file = tmp_path / "versions" / "tenant" / "r2.py"
    (tmp_path / "versions" / "tenant" / "r3.py").write_text(file.read_text().replace("'r2'", "'r3'"))
    with pytest.raises(LineageError, match=r"2 heads \(r2, r3\)"):
        Lineage("tenant", tmp_path / "alembic.ini")


def test_an_unknown_oldest_served_is_refused(
    config: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.domain.OLDEST_SERVED", "feedc0ffee00")
    newer = release(config, tmp_path, EMPTY)
    with pytest.raises(LineageError, match=r"OLDEST_SERVED in db/domain\.py is 'feedc0ffee00'"):
        lineage("tenant", newer.alembic_config)


async def test_the_same_words_come_from_every_process(
    config: Settings, tenant: Tenant, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    newer = release(config, tmp_path, "def upgrade():\n    op.execute('CREATE TABLE a (id serial)')")
    words = "revision r1 (tenant lineage), upgrade(): SERIAL"
    ini = str(newer.alembic_config)
    for command in (
        ("alembic", "-c", ini, "upgrade", "head"),
        ("alembic", "-c", ini, "-x", "tenant=bakery", "-x", "dry_run=True", "upgrade", "head"),
        ("alembic", "-c", ini, "upgrade", f"{HEAD}:head", "--sql"),
        ("python", "-m", "provisioner"),
        ("litestar", "doctor"),
    ):
        done = await typed(newer, *command)
        assert done.code != 0, command
        assert words in done.out + done.err, command
        assert "Traceback" not in done.out + done.err, command
    served = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", "from api.app import create_app; create_app()"],
        cwd=PROJECT,
        env=environment(newer),
        capture_output=True,
        text=True,
        check=False,
    )
    assert served.returncode != 0
    assert words in served.stderr
    assert await revisions(owner, "bakery") == (HEAD, CHAIN.compatible_from(HEAD), HEAD)


async def test_doctor_names_what_is_online_and_cannot_be_repeated(
    config: Settings, template: object, tmp_path: Path
) -> None:
    newer = release(config, tmp_path, ONLINE)
    done = await typed(newer, "litestar", "doctor")
    assert done.code == 1
    assert "r1 is online, but not idempotent" in done.out


def branched(config: Settings, folder: Path) -> Settings:
    """Return the settings of a release with two branches, r1 and r2, which are not joined yet."""
    newer = release(
        config,
        folder,
        "def upgrade():\n    op.add_column('users', sa.Column('one', sa.Text()))\n\n"
        "def downgrade():\n    op.drop_column('users', 'one')\n",
        "def upgrade():\n    op.add_column('users', sa.Column('two', sa.Text()))\n\n"
        "def downgrade():\n    op.drop_column('users', 'two')\n",
    )
    second = folder / "alembic" / "versions" / "tenant" / "r2.py"
    second.write_text(second.read_text().replace("down_revision = 'r1'", f"down_revision = {HEAD!r}"))
    return newer


async def test_a_merge_joins_branches_on_every_path(
    api: Client,
    config: Settings,
    tenant: Tenant,
    provisioner: Service,
    owner: asyncpg.Connection,
    tmp_path: Path,
) -> None:
    await sign_up(api, "cafe")
    newer = branched(config, tmp_path)
    ini = ("-c", str(newer.alembic_config))
    done = await typed(newer, "alembic", *ini, "upgrade", "head")
    assert "2 heads (r1, r2)" in done.err
    await alembic(newer, *ini, "merge", "heads", "--rev-id", "r3", "-m", "joined")
    joined = next((tmp_path / "alembic" / "versions" / "tenant").glob("r3*.py"))
    assert "compatible_from = 'r3'" in joined.read_text().replace('"', "'")
    # The bakery was on one branch before the other came; the cafe was on none.
    await alembic(newer, *ini, "-x", "tenant=bakery", "upgrade", "r1")
    await alembic(newer, *ini, "upgrade", "head")
    schemas = [(await registered(owner, slug)).schema_name for slug in ("bakery", "cafe")]
    assert [(await revisions(owner, slug))[::2] for slug in ("bakery", "cafe")] == [("r3", "r3")] * 2
    assert await structure(owner, schemas[0]) == await structure(owner, schemas[1])
    await alembic(newer, *ini, "-x", "yes=True", "downgrade", "r1")
    assert [(await revisions(owner, slug))[::2] for slug in ("bakery", "cafe")] == [("r1", "r1")] * 2
    columns = await owner.fetch(
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_name = 'users' AND column_name IN ('one', 'two')"
    )
    assert [row["column_name"] for row in columns] == ["one", "one"]
    done = await typed(newer, "alembic", *ini, "-x", "tenant=bakery", "upgrade", "r2")
    assert "on another branch" in done.err
    await alembic(newer, *ini, "-x", "yes=True", "downgrade", HEAD)
    assert [(await revisions(owner, slug))[::2] for slug in ("bakery", "cafe")] == [(HEAD, HEAD)] * 2


def test_an_online_revision_on_a_branch_is_refused(config: Settings, tmp_path: Path) -> None:
    newer = branched(config, tmp_path)
    versions = tmp_path / "alembic" / "versions" / "tenant"
    first = versions / "r1.py"
    first.write_text(first.read_text() + "\nonline = True\n\ndef upgrade_empty():\n    upgrade()\n")
    joined = (versions / "r2.py").read_text().replace("'r2'", "'r3'")
    joined = joined.replace(f"down_revision = {HEAD!r}", "down_revision = ('r1', 'r2')")
    (versions / "r3.py").write_text(joined)
    with pytest.raises(LineageError, match="online = True on a branch"):
        lineage("tenant", newer.alembic_config)
