"""Tenants provisioned a second, while many wait, beside the same DDL run by psql."""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg
import msgspec

from db.local.servers.postgres import binaries
from db.names import SchemaName, new_schema_name
from db.settings import Settings
from tests.benchmarks.figures import Figure, figure
from tests.benchmarks.plan import Plan
from tests.benchmarks.servers import Servers
from tests.benchmarks.signup import build
from tests.processes import a_provisioner, running
from tests.support import eventually, signed_up

_SECTION = "Provisioning"
_PSQL = "psql, the same DDL"


async def measure(servers: Servers, plan: Plan, home: Path) -> list[Figure]:
    """Let psql, and a provisioner through each transport, make as many tenants by turns."""
    through = {
        "through RabbitMQ": msgspec.structs.replace(servers.config, log_level="error"),
        "in process": msgspec.structs.replace(servers.config, log_level="error", amqp_url=None),
    }
    found: dict[str, list[float]] = {name: [] for name in (_PSQL, *through)}
    owner = await asyncpg.connect(servers.config.require("owner_database_url"))
    try:
        for number in range(plan.rounds):
            text, schema = await ddl(owner, servers.config)  # anew, as a keeper may be full by now
            sessions = servers.config.provision_concurrency
            texts = copies(text, schema, plan.batch)
            found[_PSQL].append(plan.batch / await by_psql(servers.config, texts, sessions, home))
            for name, config in through.items():
                prefix = f"{name.split()[-1].lower()}{number}"
                found[name].append(await _provisioned(owner, config, prefix, plan.batch, home))
    finally:
        await owner.close()
    base = {"per_second": found[_PSQL]}
    note = f"{servers.config.provision_concurrency} sessions"
    return [
        figure(_SECTION, _PSQL, base, note=note),
        *(figure(_SECTION, name, {"per_second": found[name]}, base=base, of="psql") for name in through),
    ]


async def ddl(owner: asyncpg.Connection, config: Settings) -> tuple[str, SchemaName]:
    """Return the SQL text that builds a tenant, as provisioning sends it, and the schema that it names.

    It is recorded while it runs, and rolled back. What only asks, with parameters, is left out.
    """
    schema, texts = new_schema_name(), list[str]()
    transaction = owner.transaction()
    await transaction.start()
    try:
        with owner.query_logger(lambda said: None if said.args else texts.append(said.query)):
            await build(owner, config.alembic_config, schema)
    finally:
        await transaction.rollback()
    return ";\n".join(text.strip().rstrip(";") for text in texts if "$1" not in text) + ";\n", schema


def copies(text: str, schema: SchemaName, count: int) -> list[str]:
    """Return transactions that build new schemas, of the text that built ``schema``."""
    return [f"BEGIN;\n{text.replace(schema, new_schema_name())}COMMIT;\n" for _ in range(count)]


async def by_psql(config: Settings, texts: Sequence[str], sessions: int, home: Path) -> float:
    """Let psql run texts, each a transaction, and return the seconds that it took.

    Args:
        config: settings, for the owner's address.
        texts: what to run.
        sessions: how many sessions share the work.
        home: where the files for psql go.
    """
    files = []
    for session in range(sessions):
        file = home / f"psql{session}.sql"
        file.write_text("".join(texts[session::sessions]), encoding="utf-8")
        files.append(file)
    started = time.perf_counter()
    await asyncio.gather(*(_psql(config.require("owner_database_url"), file) for file in files))
    return time.perf_counter() - started


async def _psql(url: str, file: Path) -> None:
    parts = urlsplit(url)
    user, database = unquote(parts.username or ""), parts.path.strip("/")
    address = ["-h", parts.hostname or "", "-p", str(parts.port), "-U", user, "-d", database]
    process = await asyncio.create_subprocess_exec(
        str(binaries() / "psql"),
        *(
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            "--output=/dev/null",
            f"--file={file}",
            *address,
        ),
        env={**os.environ, "PGPASSWORD": unquote(parts.password or "")},
        stderr=asyncio.subprocess.PIPE,
    )
    _, wrong = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"psql: {wrong.decode().strip()}")


async def _provisioned(
    owner: asyncpg.Connection, config: Settings, prefix: str, count: int, home: Path
) -> float:
    """Return the tenants a second that a running provisioner makes of sign-ups that come all at once."""
    active = "SELECT count(*) FROM shared.tenants WHERE status = 'active' AND starts_with(slug, $1)"

    async def all_active(wanted: int) -> bool:
        return bool(await owner.fetchval(active, prefix) == wanted)

    async with running(a_provisioner(config, home / "provisioner.log")) as provisioner:
        async with owner.transaction():
            await signed_up(owner, f"{prefix}-warm")
        await eventually(lambda: all_active(1), within=60, what="the provisioner works")
        async with owner.transaction():
            for number in range(count):
                await signed_up(owner, f"{prefix}-{number}")
        started = time.perf_counter()
        await eventually(lambda: all_active(1 + count), within=10 + count, what=f"{count} are active")
        took = time.perf_counter() - started
        await asyncio.to_thread(provisioner.stop)
    return count / took
