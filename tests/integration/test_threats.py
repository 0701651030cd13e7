"""Threats that no other file of tests takes on; docs/threats.md says which test is whose answer."""

import asyncio
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
import structlog
import uuid_utils.compat as uuid7
from msgspec.structs import replace

from api.app import create_app
from db.logs import redact
from db.migrations.lineage import lineage
from db.names import new_schema_name, quoted, schema_name
from db.server import roles, version
from db.settings import Settings
from db.tenants import registry, states
from provisioner.attempt import Policy
from provisioner.delivery import Deliveries
from provisioner.handlers.provision import Provision
from tests import leaks
from tests.isolation import Resident, settle
from tests.leaks import SECRET, watched
from tests.processes import api_process
from tests.support import (
    Client,
    Service,
    Tenant,
    held,
    problem,
    provisioning,
    requested,
    serving,
    sign_up,
)

PROJECT = Path(__file__).resolve().parents[2]
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


async def test_a_purged_tenants_slug_serves_its_next_owner_and_the_old_key_opens_nothing(
    api: Client, provisioner: Service, owner: asyncpg.Connection
) -> None:
    old = await sign_up(api, "bakery")
    await api.post("/users", headers=old.headers, json={"email": "secret@example.com"})
    before = await owner.fetchrow("SELECT id, schema_name FROM shared.tenants")
    assert before is not None

    async def to(status: states.TenantStatus) -> None:
        async with owner.transaction():
            tenant = await registry.lock(owner, before["id"])
            assert tenant is not None
            if status == "purged":
                await roles.drop_schema(owner, tenant.schema_name)
            await registry.transition(owner, tenant, status)

    await to("deleted")
    problem(await api.post("/tenants", json={"name": "B", "slug": "bakery"}), 409, "slug-taken")
    await to("purging")
    problem(await api.post("/tenants", json={"name": "B", "slug": "bakery"}), 409, "slug-taken")
    await to("purged")
    new = await sign_up(api, "bakery")
    answer = await api.get("/users", headers=new.headers)
    assert answer.json()["items"] == []
    refused = await api.get("/users", headers=old.headers)
    assert refused.status_code in {401, 403}, refused.text
    after = await owner.fetchval("SELECT schema_name FROM shared.tenants WHERE id = $1::uuid", new.id)
    assert after != before["schema_name"]
    assert await owner.fetchval("SELECT to_regnamespace($1)", before["schema_name"]) is None
    assert await owner.fetchval("SELECT to_regrole($1)", before["schema_name"]) is None


async def test_no_secret_is_to_be_found_in_the_shared_tables_or_in_the_logs(
    config: Settings, owner: asyncpg.Connection
) -> None:
    with watched() as leaked:
        async with serving(replace(config, log_level="debug", log_format="json")) as api:
            async with provisioning(config):
                tenant = await sign_up(
                    api, "bakery", admin={"email": "ann@example.com", "password": "correct horse"}
                )
            await api.get("/users", headers={"authorization": f"Bearer {tenant.key}x", "tenant": "bakery"})
            log = structlog.get_logger("test")
            log.warning("a slip", header=f"Bearer {tenant.key}", url=config.database_url)
            logging.getLogger("elsewhere").warning("another: %s", tenant.key)
    assert leaked == []
    tables = await owner.fetch(
        "SELECT c.oid::regclass::text FROM pg_catalog.pg_class c"
        " WHERE c.relnamespace = 'shared'::regnamespace AND c.relkind IN ('r', 'p')"
    )
    dump = ""
    for (table,) in tables:
        dump += "\n".join(str(row[0]) for row in await owner.fetch(f"SELECT t::text FROM {table} t"))
    assert "bakery" in dump  # the dump has what is there,
    secret = tenant.key.split("_")[2]
    for hidden in (tenant.key, secret, secret[:20], "correct horse"):
        assert hidden not in dump  # and no secret in the clear,
    assert "$argon2" not in dump  # nor, once the tenant is there, the waiting hash.


def test_a_secret_in_a_log_line_would_be_noticed() -> None:
    key = "tnt_" + "a" * 16 + "_" + "b" * 59
    assert SECRET.search(f"x {key}")
    assert not SECRET.search(redact(f"x {key} postgresql://user:app-password@host/"))
    with watched() as leaked:
        formatter = structlog.stdlib.ProcessorFormatter(processor=lambda _, __, event: str(event["event"]))
        formatter.format(logging.makeLogRecord({"msg": key, "levelname": "INFO"}))
    assert leaked == [key]


def test_a_secret_in_a_processes_output_would_be_noticed(tmp_path: Path) -> None:
    key = "tnt_" + "a" * 16 + "_" + "b" * 59
    log = tmp_path / "deep" / "a.log"
    log.parent.mkdir()
    with log.open("wb") as output:
        subprocess.run([sys.executable, "-c", f"print('said {key}')"], stdout=output, check=True)
    assert leaks.in_files(tmp_path) == [f"a.log: said {key}"]
    log.unlink()  # or the run fails, as it should


async def test_a_forged_command_changes_no_tenant(
    config: Settings, owner: asyncpg.Connection, tenant: Tenant
) -> None:
    """A command carries an id, and what there is to be done stands in the ledger alone."""

    async def state() -> list[tuple[object, ...]]:
        tenants = await owner.fetch("SELECT id, status, version, revision FROM shared.tenants ORDER BY id")
        schemas = await owner.fetch("SELECT nspname FROM pg_catalog.pg_namespace ORDER BY nspname")
        return [tuple(row.values()) for row in [*tenants, *schemas]]

    forged = msgspec.json.encode({"type": "tenant.purge", "data": {"tenant_id": tenant.id}})
    before = await state()
    handled = await owner.fetchval("SELECT id FROM shared.messages WHERE status = 'handled'")
    assert handled is not None
    async with asyncpg.create_pool(config.require("owner_database_url"), min_size=1, max_size=2) as pool:
        handler = Provision(lineage("tenant", config.alembic_config))
        policy = Policy(attempts=8, retry_base=0.01, retry_cap=0.1, lock_timeout=1)
        consumer = Deliveries(pool, {"tenant.provision": handler}, policy)
        for message_id in (str(uuid7.uuid7()), str(handled), None, "'; DROP TABLE shared.tenants; --"):
            await consumer.command(message_id, forged)
    assert await state() == before
    parked = await owner.fetch("SELECT type, status, raw_body FROM shared.messages WHERE type = 'unknown'")
    assert [tuple(row) for row in parked] == [("unknown", "parked", forged)]


@pytest.mark.parametrize("text", ["t_" + "a" * 64, "t_'; DROP ROLE x; --", 't_a"b', "none", "t_\x00"])
def test_no_name_but_a_generated_one_gets_into_sql_text(text: str) -> None:
    with pytest.raises(ValueError, match="not a tenant schema"):
        schema_name(text)
    assert schema_name(new_schema_name())


def test_identifiers_that_postgresql_would_cut_are_refused() -> None:
    """Two names alike in their first 63 bytes would be one."""
    with pytest.raises(ValueError, match="not an identifier"):
        quoted("é" * 32)
    assert quoted("é" * 31) == '"' + "é" * 31 + '"'
    drawn = {new_schema_name() for _ in range(2000)}
    assert len(drawn) == 2000
    assert all(len(name) == 18 for name in drawn)


async def test_a_hostile_slug_is_a_value_and_never_a_name(
    api: Client, provisioner: Service, owner: asyncpg.Connection
) -> None:
    tenant = await requested(api, "a" * 63)
    schema = await owner.fetchval("SELECT schema_name FROM shared.tenants WHERE id = $1::uuid", tenant.id)
    assert schema_name(schema)
    assert "aaaa" not in schema


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
        "headers": [(b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")],
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


@pytest.mark.parametrize("number", [90624, 150018, 160000, 160004, 170000])
def test_servers_that_forget_roles_are_refused(number: int) -> None:
    """CVE-2024-10978: SET ROLE could be lost in a reused plan."""
    with pytest.raises(version.UnsupportedServerError, match="too old"):
        version.check_number(number)


@pytest.mark.parametrize("number", [160005, 170001, 180000, 190000])
def test_servers_from_the_floor_on_are_taken(number: int) -> None:
    version.check_number(number)


def test_nothing_is_cast_to_a_schema_name_but_what_was_drawn_or_checked() -> None:
    places = {
        str(file.relative_to(PROJECT))
        for package in ("api", "db", "provisioner")
        for file in (PROJECT / package).rglob("*.py")
        if re.search(r"\bSchemaName\(", file.read_text())
    }
    assert places == {"db/names.py"}
