"""Threats that no other file of tests takes on; docs/threats.md says which test is whose answer."""

import logging
import re
import subprocess
import sys
from pathlib import Path

import asyncpg
import msgspec
import pytest
import structlog
import uuid_utils.compat as uuid7
from msgspec.structs import replace

from db.logs import redact
from db.names import new_schema_name, quoted, schema_name
from db.server import roles, version
from db.settings import Settings
from db.tenants import registry, states
from provisioner.delivery import Deliveries
from tests import leaks
from tests.leaks import SECRET, watched
from tests.support import Client, Service, Tenant, problem, provisioning, requested, serving, sign_up

PROJECT = Path(__file__).resolve().parents[2]


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
    consumer: Deliveries, owner: asyncpg.Connection, tenant: Tenant
) -> None:
    """A delivered command is an id only; its work is read from the ledger."""

    async def state() -> list[tuple[object, ...]]:
        tenants = await owner.fetch("SELECT id, status, version, revision FROM shared.tenants ORDER BY id")
        schemas = await owner.fetch("SELECT nspname FROM pg_catalog.pg_namespace ORDER BY nspname")
        return [tuple(row.values()) for row in [*tenants, *schemas]]

    forged = msgspec.json.encode({"type": "tenant.purge", "data": {"tenant_id": tenant.id}})
    before = await state()
    handled = await owner.fetchval("SELECT id FROM shared.messages WHERE status = 'handled'")
    assert handled is not None
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
