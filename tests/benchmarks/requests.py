"""``GET /todos/{id}`` through the API, beside the same answer from one schema and one statement."""

import asyncio
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import msgspec
from litestar import Litestar, get
from litestar.datastructures import State

from db.local.processes.process import Process
from db.local.processes.waiting import free_port
from db.names import quoted
from db.settings import PROJECT
from tests.benchmarks.servers import Figure, Servers
from tests.processes import a_provisioner, an_api, answers, environment, running
from tests.support import Tenant, serving, sign_up

# What is read: a table of the application's, its columns, its route, and a body for `POST`.
TABLE, PATH, BODY = "todos", "/todos", {"title": "Buy flour"}


class Row(msgspec.Struct, frozen=True):
    """What the route answers."""

    id: int
    title: str
    done: bool
    due_at: datetime | None
    owner_id: int | None
    created_at: datetime
    updated_at: datetime


_TENANTS = 20
_CONNECTIONS = 16
_SECONDS = 3.0
_ROUNDS = 5


def ceiling() -> Litestar:
    """Make the application to compare with: the same shape, no tenants, no tokens."""
    sql = (
        f"SELECT {', '.join(Row.__struct_fields__)} FROM {quoted(os.environ['SCHEMA'])}.{TABLE} WHERE id = $1"
    )

    @asynccontextmanager
    async def pool(app: Litestar) -> AsyncIterator[None]:
        async with asyncpg.create_pool(os.environ["OWNER_DATABASE_URL"], min_size=10, max_size=10) as opened:
            app.state.pool = opened
            yield

    @get(PATH + "/{row_id:int}")
    async def read(state: State, row_id: int) -> Row:
        async with state.pool.acquire() as connection:
            row = await connection.fetchrow(sql, row_id)
        return Row(*row)

    return Litestar([read], lifespan=[pool], openapi_config=None, logging_config=None)


async def measure(servers: Servers, home: Path) -> list[Figure]:
    """Ask both by turns."""
    config = msgspec.structs.replace(servers.config, log_level="error", concurrent_requests=0, amqp_url=None)
    async with serving(config) as api, running(a_provisioner(config, home / "requests.log")):
        tenants = [await sign_up(api, f"reader{number}") for number in range(_TENANTS)]
        for tenant in tenants:
            made = await api.post(PATH, headers=tenant.headers, json=BODY)
            assert made.status_code == 201, made.text
    owner = await asyncpg.connect(config.require("owner_database_url"))
    schema = await owner.fetchval("SELECT schema_name FROM shared.tenants WHERE slug = 'reader0'")
    await owner.close()
    process, base = an_api(config, home / "api.log")
    port = free_port()
    command = [
        *(sys.executable, "-m", "granian", "--interface", "asgi", "--factory", "--no-ws"),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1", "tests.benchmarks.requests:ceiling"),
    ]
    given = {**environment(config), "SCHEMA": schema}
    fixed = Process("ceiling", command, environment=given, log=home / "ceiling.log", directory=PROJECT)
    ours, theirs = [], []
    async with running(process), running(fixed):
        await answers(f"{base}/health/ready")
        await answers(f"http://127.0.0.1:{port}{PATH}/1")
        for _ in range(_ROUNDS):
            theirs.append(await _load(f"http://127.0.0.1:{port}", [{}]))
            ours.append(await _load(base, [_headers(tenant) for tenant in tenants]))
    middle_theirs, middle_ours = statistics.median(theirs), statistics.median(ours)
    return [
        Figure(f"GET {PATH}/{{id}}, ceiling: one schema, one statement", f"{middle_theirs:,.0f}/s"),
        Figure(
            f"GET {PATH}/{{id}}, the API, {_TENANTS} tenants",
            f"{middle_ours:,.0f}/s",
            f"{middle_ours / middle_theirs:.2f}",
        ),
    ]


def _headers(tenant: Tenant) -> dict[str, str]:
    return tenant.headers


async def _load(base: str, headers: Sequence[dict[str, str]]) -> float:
    """Return the answers a second that some connections get, each asking again as soon as it has one."""
    until = time.perf_counter() + _SECONDS
    tasks = (_ask(base, headers[number % len(headers)], until) for number in range(_CONNECTIONS))
    return sum(await asyncio.gather(*tasks)) / _SECONDS


async def _ask(base: str, headers: dict[str, str], until: float) -> int:
    parts = urlsplit(base)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    lines = [
        f"GET {PATH}/1 HTTP/1.1",
        f"host: {parts.netloc}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    answered = 0
    while time.perf_counter() < until:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        await reader.readexactly(length)
        answered += 1
    writer.close()
    await writer.wait_closed()
    return answered
