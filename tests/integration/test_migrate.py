"""``tenant.migrate``: a tenant migrated by a message, and what happens when that fails."""

from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec
import pytest
from msgspec.structs import replace

from db.migrations.fingerprint import structure
from db.settings import Settings
from tests.migrations import (
    BEFORE,
    CHAIN,
    EVERY,
    FAILING,
    FITS,
    HEAD,
    SCRIPT,
    asked,
    command_for,
    deliveries,
    registered,
    release,
    revisions,
    settles,
    told,
)
from tests.operators import Operator
from tests.shell import alembic
from tests.support import Client, Service, Tenant, eventually, one, problem, provisioning, requested, serving


async def test_an_older_tenant_is_brought_to_head_and_served_again(
    api: Client, config: Settings, tenant: Tenant, operator: Operator, owner: asyncpg.Connection
) -> None:
    fresh = await structure(owner, (await registered(owner, "bakery")).schema_name)
    await alembic(config, "-x", "tenant=bakery", "downgrade", CHAIN.base)
    problem(await api.get("/users", headers=tenant.headers), 503, "tenant-out-of-range")
    ready = await api.get("/health/ready")
    assert (ready.status_code, ready.json()["out_of_range"]) == (200, 1)
    await settles(owner, await asked(operator, "bakery"), "handled")
    assert (await api.get("/health/ready")).json()["out_of_range"] == 0
    assert await revisions(owner, "bakery") == (HEAD, FITS, HEAD)
    assert await structure(owner, (await registered(owner, "bakery")).schema_name) == fresh
    made = await api.post("/users", headers=tenant.headers, json={"email": "ann@example.com"})
    assert made.status_code == 201, made.text
    revisions_told = [revision for revision in await told(owner, "tenant.migrated") if revision in EVERY]
    down, up = revisions_told[: len(EVERY) - 1], revisions_told[len(EVERY) - 1 :]
    assert down == EVERY[-2::-1]  # each revision by hand
    # Each script, and each online revision, by command.
    assert up == [*sorted({*up} - {HEAD}, key=EVERY.index), HEAD]


async def test_the_event_comes_after_the_command_and_names_it(
    config: Settings, tenant: Tenant, operator: Operator, owner: asyncpg.Connection
) -> None:
    await alembic(config, "-x", "tenant=bakery", "downgrade", BEFORE)
    message_id = await asked(operator, "bakery")
    command = await settles(owner, message_id, "handled")
    event = await one(
        owner,
        "SELECT * FROM shared.messages WHERE type = 'tenant.migrated' AND caused_by = $1",
        UUID(message_id),
    )
    assert event["tenant_version"] > command["tenant_version"]


async def test_a_tenant_goes_to_a_revision_on_the_way_if_that_is_asked_for(
    config: Settings, tenant: Tenant, operator: Operator, owner: asyncpg.Connection
) -> None:
    await alembic(config, "-x", "tenant=bakery", "downgrade", CHAIN.base)
    await settles(owner, await asked(operator, "bakery", revision=BEFORE[:6]), "handled")
    assert (await revisions(owner, "bakery"))[0] == BEFORE


async def test_a_suspended_tenant_is_migrated_and_stays_suspended(
    config: Settings, tenant: Tenant, operator: Operator, owner: asyncpg.Connection
) -> None:
    await alembic(config, "-x", "tenant=bakery", "downgrade", BEFORE)
    await operator.has("suspend", "bakery")
    await settles(owner, await asked(operator, "bakery"), "handled")
    assert (await revisions(owner, "bakery"))[0] == HEAD
    assert (await operator.sees("bakery"))["status"] == "suspended"


async def test_a_tenant_that_is_there_already_is_left_as_it_is(
    tenant: Tenant, operator: Operator, owner: asyncpg.Connection
) -> None:
    await settles(owner, await asked(operator, "bakery"), "handled")
    assert await told(owner, "tenant.migrated") == []


async def test_unknown_and_older_revisions_and_tenants_without_a_schema_are_refused(
    api: Client, tenant: Tenant, operator: Operator, owner: asyncpg.Connection
) -> None:
    for text in ("nonsense", "base", "-1", "heads+1", ""):
        problem(await operator.does("migrate", "bakery", revision=text), 400, "validation")
    problem(await operator.does("migrate", "bakery", revision=BEFORE), 409, "state-conflict")
    await owner.execute("UPDATE shared.tenants SET revision = 'ffffffffffff'")  # a later release's
    problem(await operator.does("migrate", "bakery"), 409, "state-conflict")
    await owner.execute("UPDATE shared.tenants SET revision = $1", HEAD)
    await operator.has("delete", "bakery")
    problem(await operator.does("migrate", "bakery"), 409, "state-conflict")
    await operator.has("restore", "bakery")
    assert (await operator.does("migrate", "bakery")).status_code == 202


async def test_a_waiting_tenant_cannot_be_asked_to_migrate(api: Client, operator: Operator) -> None:
    await requested(api, "bakery")
    problem(await operator.does("migrate", "bakery"), 409, "state-conflict")


async def test_a_script_revision_of_the_next_release_is_applied_with_its_grants(
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    provisioner: Service,
    tmp_path: Path,
    operator_token: str,
) -> None:
    await provisioner.stop()
    newer = release(config, tmp_path, SCRIPT)
    async with serving(newer) as api, provisioning(newer):
        await settles(owner, await asked(Operator(api, operator_token), "bakery"), "handled")
        assert (await api.get("/users", headers=tenant.headers)).status_code == 200
    assert await revisions(owner, "bakery") == ("r1", HEAD, "r1")


async def test_the_release_before_serves_a_tenant_that_is_ahead_of_it(
    api: Client,
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    provisioner: Service,
    tmp_path: Path,
    operator_token: str,
) -> None:
    await provisioner.stop()
    newer = release(config, tmp_path, SCRIPT)
    async with serving(newer) as newer_api, provisioning(newer):
        await settles(owner, await asked(Operator(newer_api, operator_token), "bakery"), "handled")
    assert (await api.get("/users", headers=tenant.headers)).status_code == 200
    problem(await Operator(api, operator_token).does("migrate", "bakery"), 409, "state-conflict")


async def test_a_script_that_fails_leaves_no_trace_but_the_parked_command_and_its_event(
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    provisioner: Service,
    tmp_path: Path,
    operator_token: str,
) -> None:
    await provisioner.stop()
    newer = release(config, tmp_path, SCRIPT, FAILING)
    async with serving(newer) as api, provisioning(newer):
        operator = Operator(api, operator_token)
        row = await settles(owner, await asked(operator, "bakery"), "parked")
        assert row["error_class"] == "UndefinedFunctionError"
        assert (await api.get("/users", headers=tenant.headers)).status_code == 200
        assert (await operator.sees("bakery"))["status"] == "active"
    assert await revisions(owner, "bakery") == (HEAD, FITS, HEAD)
    assert await told(owner, "tenant.migration_failed") == ["r2"]
    assert await told(owner, "tenant.migrated") == []


async def test_a_locked_table_is_waited_for_within_bounds_and_tried_again(
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    provisioner: Service,
    tmp_path: Path,
    operator_token: str,
) -> None:
    await provisioner.stop()
    newer = replace(release(config, tmp_path, SCRIPT), migration_lock_timeout=0.1)
    schema = (await registered(owner, "bakery")).schema_name
    async with serving(newer) as api, provisioning(newer):
        async with owner.transaction():
            await owner.execute(f"LOCK TABLE {schema}.users IN ACCESS SHARE MODE")
            message_id = await asked(Operator(api, operator_token), "bakery")

            async def tried() -> bool:
                row = await one(owner, "SELECT * FROM shared.messages WHERE id = $1", message_id)
                assert row["error_class"] == "LockNotAvailableError", row["status"]
                return True

            await eventually(tried, what="a first attempt")
        row = await settles(owner, message_id, "handled")
    assert row["attempts"] > 1


@pytest.mark.parametrize("state", ["pending", "provisioning"])
async def test_a_delivery_before_the_tenant_is_provisioned_is_given_back(
    api: Client, config: Settings, owner: asyncpg.Connection, pool: asyncpg.Pool, state: str
) -> None:
    await requested(api, "bakery")
    await owner.execute("UPDATE shared.tenants SET status = $1", state)
    message_id = await command_for(owner, "bakery")
    await deliveries(pool, config).command(message_id, b"")
    row = await one(owner, "SELECT * FROM shared.messages WHERE id = $1", message_id)
    assert (row["status"], row["attempts"]) == ("pending", 0)
    assert (await registered(owner, "bakery")).status == state


@pytest.mark.parametrize("state", ["failed", "deleted"])
async def test_a_delivery_for_a_tenant_that_has_moved_on_is_superseded(
    api: Client, config: Settings, owner: asyncpg.Connection, pool: asyncpg.Pool, state: str
) -> None:
    await requested(api, "bakery")
    await owner.execute("UPDATE shared.tenants SET status = $1", state)
    message_id = await command_for(owner, "bakery")
    await deliveries(pool, config).command(message_id, b"")
    await settles(owner, message_id, "superseded")
    assert (await registered(owner, "bakery")).status == state


async def test_the_payload_says_no_more_than_ids(
    tenant: Tenant, operator: Operator, owner: asyncpg.Connection
) -> None:
    message_id = await asked(operator, "bakery")
    row = await one(owner, "SELECT payload FROM shared.messages WHERE id = $1", message_id)
    data = msgspec.json.decode(row["payload"])["data"]
    assert data == {"tenant_id": tenant.id, "revision": HEAD}
