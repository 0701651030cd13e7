"""Threats that come with an HTTP request: headers and hosts that name other tenants, and huge bodies."""

import asyncio
import re
from typing import Any

import asyncpg
import httpx
import pytest

from api.app import create_app
from db.settings import Settings
from tests.isolation import Resident, settle
from tests.processes import api_process
from tests.support import Client, held, problem

DOCUMENTED = {"status", "type", "title", "detail"}


@pytest.fixture
async def pair(owner: asyncpg.Connection, config: Settings) -> tuple[Resident, Resident]:
    """Two tenants."""
    ash, birch = await settle(owner, config, ["ash", "birch"])
    return ash, birch


def bearer(resident: Resident) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {resident.key}")]


async def test_the_token_decides_and_every_other_word_for_a_tenant_must_agree(
    api: Client, pair: tuple[Resident, Resident], owner: asyncpg.Connection
) -> None:
    ash, birch = pair
    for resident in pair:
        await owner.execute(
            "INSERT INTO shared.tenant_hosts (host, tenant_id) VALUES ($1, $2)",
            f"{resident.slug}.example.com",
            resident.id,
        )
    for mine in ([("tenant", "ash")], [("host", "ash.example.com")], [("tenant", " ASH ")]):
        answer = await api.get("/users", headers=[*bearer(ash), *mine])
        assert [user["first_name"] for user in answer.json()["items"]] == [ash.canary], mine
    for foreign in (
        [("tenant", "birch")],
        [("host", "birch.example.com")],
        [("tenant", "ash"), ("host", "birch.example.com")],
        [("tenant", "birch"), ("host", "ash.example.com")],
        [("tenant", "ash,birch")],
        [("tenant", "")],
        [("tenant", birch.schema)],
        [("tenant", str(birch.id))],
        [("tenant", "ash\x00birch")],
    ):
        answer = await api.get("/users", headers=[*bearer(ash), *foreign])
        problem(answer, 403, "tenant-forbidden")
    for twice in ([("tenant", "ash"), ("tenant", "birch")], [("tenant", "ash"), ("Tenant", "ash")]):
        problem(await api.get("/users", headers=[*bearer(ash), *twice]), 400, "tenant-ambiguous")
    two_tokens = [*bearer(ash), *bearer(birch), ("tenant", "birch")]
    problem(await api.get("/users", headers=two_tokens), 401, "unauthenticated")


async def test_unknown_and_foreign_tenants_get_the_same_answer(
    api: Client, pair: tuple[Resident, Resident], owner: asyncpg.Connection
) -> None:
    ash, _ = pair
    for method, path in (("GET", "/users"), ("POST", "/users"), ("DELETE", "/users/1"), ("GET", "/roles")):
        answers = [
            await api.request(method, path, headers=[*bearer(ash), ("tenant", slug)])
            for slug in ("birch", "nobody-at-all")
        ]
        foreign, unknown = (problem(answer, 403, "tenant-forbidden") for answer in answers)
        assert {name: foreign[name] for name in DOCUMENTED} == {name: unknown[name] for name in DOCUMENTED}
        names = [sorted(set(answer.headers) - {"x-request-id"}) for answer in answers]
        assert names[0] == names[1]
    answers = [await api.get(f"/tenants/{slug}", headers=bearer(ash)) for slug in ("birch", "nobody-at-all")]
    foreign, unknown = (problem(answer, 403, "tenant-forbidden") for answer in answers)
    assert {name: foreign[name] for name in DOCUMENTED} == {name: unknown[name] for name in DOCUMENTED}


async def test_what_proxies_say_of_hosts_moves_nobody_to_another_tenant(
    api: Client, pair: tuple[Resident, Resident], owner: asyncpg.Connection
) -> None:
    ash, birch = pair
    await owner.execute(
        "INSERT INTO shared.tenant_hosts (host, tenant_id) VALUES ('birch.example.com', $1)", birch.id
    )
    for name in ("x-forwarded-host", "forwarded", "x-original-host", "x-host", "x-tenant", "x-rewrite-url"):
        spoofed = (name, "host=birch.example.com" if name == "forwarded" else "birch.example.com")
        with_header = await api.get("/users", headers=[*bearer(ash), ("tenant", "ash"), spoofed])
        assert [user["first_name"] for user in with_header.json()["items"]] == [ash.canary]
        alone = await api.get("/users", headers=[*bearer(birch), spoofed])
        problem(alone, 400, "tenant-required")  # not even for the tenant whose host it is
    for host in ("birch.example.com:80", "BIRCH.example.com.", "ash.example.com@birch.example.com"):
        answer = await api.get("/users", headers=[*bearer(ash), ("tenant", "ash"), ("host", host)])
        assert birch.canary not in answer.text


async def test_a_body_of_a_hundred_megabytes_in_chunks_is_refused_unread(config: Settings) -> None:
    app = create_app(config)
    chunk, read, sent = b" " * 65_536, 0, []

    async def receive() -> Any:
        nonlocal read
        read += len(chunk)
        return {"type": "http.request", "body": chunk, "more_body": read < 100_000_000}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/tenants",
        "raw_path": b"/tenants",
        "root_path": "",
        "query_string": b"",
        "scheme": "http",
        "headers": [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (b"transfer-encoding", b"chunked"),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    async with held(app.lifespan()):
        await app(scope, receive, send)
    assert sent[0]["status"] == 413
    assert b"body-too-large" in sent[1]["body"]
    assert read < 2 * config.body_limit


async def test_granian_refuses_it_too_and_goes_on_serving(config: Settings) -> None:
    async with api_process(config) as base:
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(base).port)
        writer.write(
            b"POST /tenants HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        answer = asyncio.create_task(reader.read(4096))
        chunk, sent = b"10000\r\n" + b" " * 65_536 + b"\r\n", 0
        while sent < 100_000_000 and not answer.done():
            writer.write(chunk)
            await writer.drain()
            sent += 65_536
            # Past the limit an answer is due; what is sent after it only meets a closed connection.
            await asyncio.wait({answer}, timeout=0 if sent <= config.body_limit else 5)
        assert re.match(rb"HTTP/1.1 413 ", await asyncio.wait_for(answer, 10))
        assert sent < 2 * config.body_limit
        writer.close()
        async with httpx.AsyncClient(base_url=base) as client:
            assert (await client.get("/health/live")).status_code == 200
