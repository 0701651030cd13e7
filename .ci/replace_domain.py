"""Does to a copy of the project what docs/how-to.md says about replacing the example, and runs everything there.

    python .ci/replace_domain.py

Every block of the page that begins with a file's path becomes that file, and the two pieces for the revision go
where the page says; nothing else of the copy is touched. Then: migrations of a tenant that had the example's
tables, `make lint`, and `make test` of what could depend on the application. The copy is deleted in the end.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
CACHES = ("uv", "asyncapi", "npm")
SUITE = (
    "tests/unit tests/integration tests/domain"
    " tests/e2e/test_run.py::test_the_applications_first_row_is_there_and_a_line_lists_it"
)
LEFT_OUT = (
    "ledger",
    "attempts",
    "deliveries",
    "message*",
    "pooler*",
    "tls_*",
    "replays",
    "shell_*",
    "pause",
    "signup_events",
    "local_*",
)
"""Tests of messages and servers, which ran above and touch no application's table."""
BOUND = 600.0
"""Seconds that one command may take."""
BOUND_OF_ALL = 1_800.0
"""Seconds that all of them may take together."""


def main() -> int:
    """Make the copy, and go on inside it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tenantry-replaced-") as folder:
        Path(folder).chmod(0o711)  # the server may run as a user who must get there
        copy = Path(folder) / "project"
        copy_project(copy)
        run(copy, "make", ".venv/.locked")
        run(copy, ".venv/bin/python", ".ci/replace_domain.py", "--inside", within=BOUND_OF_ALL)
    say(f"the example was replaced and everything passed, in {time.monotonic() - began:.0f} s")
    return 0


def copy_project(copy: Path) -> None:
    """Copy what git tracks, and the caches of what was fetched."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / name, target)
    # So that tools leave out here what they leave out there.
    subprocess.run(["git", "init", "--quiet"], cwd=copy, check=True)
    for name in CACHES:
        cached = PROJECT / ".cache" / name
        if cached.is_dir():
            shutil.copytree(cached, copy / ".cache" / name, symlinks=True)


def inside() -> int:
    """Replace the example here, and run everything."""
    sys.path.insert(0, str(PROJECT))
    with database() as environment:
        asyncio.run(settle_bakery(environment["OWNER_DATABASE_URL"]))
        blocks = replace_files()
        revision = write_revision(blocks, environment)
        run(PROJECT, ".venv/bin/alembic", "upgrade", "head", **environment)
        asyncio.run(check_bakery(environment["OWNER_DATABASE_URL"], revision))
        run(PROJECT, ".venv/bin/alembic", "-x", "yes=True", "downgrade", "-1", **environment)
        run(PROJECT, ".venv/bin/alembic", "-x", "tenant=bakery", "upgrade", "head", **environment)
        asyncio.run(check_bakery(environment["OWNER_DATABASE_URL"], revision))
    run(PROJECT, "make", "lint")
    left_out = " ".join(f"--ignore-glob=tests/integration/test_{name}.py" for name in LEFT_OUT)
    run(PROJECT, "make", "test", f"SUITE={SUITE}", f"ARGS={left_out}")
    return 0


@contextmanager
def database() -> Iterator[dict[str, str]]:
    """Run a bootstrapped PostgreSQL server for this step alone; give the environment to migrate with."""
    from db.bootstrap import bootstrap
    from db.local.servers.postgres import PostgresServer

    home = PROJECT / ".cache" / "replaced"
    server = PostgresServer(home, settings={"fsync": "off"})
    server.start()
    try:
        url = server.superuser_url.rpartition("/")[0] + "/tenantry"
        made = asyncio.run(bootstrap(url, owner_password="owner", app_password="app"))
        yield {"OWNER_DATABASE_URL": made.owner_url}
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


async def settle_bakery(owner_url: str) -> None:
    """Make a tenant as the example's project has it."""
    import asyncpg

    from db.settings import Settings
    from tests.isolation import settle

    connection = await asyncpg.connect(owner_url)
    try:
        await settle(connection, Settings(), ["bakery"])
    finally:
        await connection.close()


def replace_files() -> dict[str, str]:
    """Do steps 1 to 3 and 5 of the page; return its blocks by their first lines."""
    page = (PROJECT / "docs" / "how-to.md").read_text()
    section = page.split("## Replace")[1].split("\n## ")[0]
    found = re.findall(r"^```python\n# ([^\n]+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    blocks = dict(found)
    for folder in ("api/domain", "tests/domain"):
        for file in (PROJECT / folder).rglob("*.py"):
            if file.name != "__init__.py":
                file.unlink()
    for name, text in blocks.items():
        if name.endswith(".py"):
            (PROJECT / name).write_text(text)
            say(f"written: {name}")
    return blocks


def write_revision(blocks: dict[str, str], environment: dict[str, str]) -> str:
    """Do step 4 of the page; return the revision's id."""
    folder = PROJECT / "alembic" / "versions" / "tenant"
    before = set(folder.glob("*.py"))
    run(PROJECT, ".venv/bin/alembic", "revision", "--autogenerate", "-m", "invoices", **environment)
    (file,) = set(folder.glob("*.py")) - before
    text = file.read_text()
    for table in ("invoices", "invoice_lines"):
        assert f'create_table(\n        "{table}"' in text or f"create_table('{table}'" in text, text
    assert "drop_table(" in text, text
    revision = re.search(r"^revision = ['\"](\w+)", text, re.MULTILINE)
    assert revision, text
    up, down = blocks["at the end of upgrade()"], blocks["at the beginning of downgrade()"]
    text = re.sub(r"^compatible_from = .*$", f'compatible_from = "{revision[1]}"', text, flags=re.MULTILINE)
    text = text.replace("\n\n\ndef downgrade():\n", f"\n{up}\n\ndef downgrade():\n{down}", 1)
    file.write_text(text)
    domain = PROJECT / "db" / "domain.py"
    domain.write_text(
        re.sub(
            r"^(OLDEST_SERVED: Final = ).*$", rf'\1"{revision[1]}"', domain.read_text(), flags=re.MULTILINE
        )
    )
    say(f"written: {file.relative_to(PROJECT)}")
    return revision[1]


async def check_bakery(owner_url: str, revision: str) -> None:
    """Check that the tenant has the new tables, and not the example's any more."""
    import asyncpg

    connection = await asyncpg.connect(owner_url)
    try:
        row = await connection.fetchrow("SELECT schema_name, revision FROM shared.tenants")
        assert row is not None
        assert row["revision"] == revision, row
        rows = await connection.fetch(
            "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = $1", row["schema_name"]
        )
        own = {row["tablename"] for row in rows} - {"alembic_version"}
        house = {"users", "roles", "permissions", "roles_permissions_link"}
        assert own == house | {"invoices", "invoice_lines"}, own
    finally:
        await connection.close()


def run(folder: Path, *command: str, within: float = BOUND, **environment: str) -> None:
    """Run a command there; end with its exit code where it fails."""
    say("$ " + " ".join(command))
    kept = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "MAKEFLAGS"}}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**kept, **environment},
        check=False,
        timeout=within,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise SystemExit(done.returncode)


def say(text: str) -> None:
    sys.stdout.write(f"replace: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(inside() if "--inside" in sys.argv else main())
