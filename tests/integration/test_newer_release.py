"""What is for a newer release waits for a provisioner of it: not parked, no attempt spent, in words of its own."""

from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import asyncpg
import pytest
import uuid_utils.compat as uuid7
from msgspec.structs import replace

from db.ledger import history
from db.migrations.lineages import lineage
from db.settings import Settings
from provisioner.delivery import Deliveries
from provisioner.handlers.handler import Handler, Outcome
from provisioner.handlers.provision import ProvisionHandler
from tests.commands import POLICY, events, message, pending, tenant_status
from tests.messages import WHY, listed
from tests.migrations import (
    BEFORE,
    HEAD,
    SCRIPT,
    asked,
    command_for,
    deliveries,
    release,
    revisions,
    settles,
    told,
)
from tests.operators import Operator
from tests.support import (
    Client,
    Service,
    Tenant,
    becomes,
    eventually,
    its_time_comes,
    provisioning,
    requested,
    serving,
)

LATER = "ffffffffffff"


async def a_launch(owner: asyncpg.Connection) -> UUID:
    """Write a command of a type that this release has no handler of."""
    message_id = uuid7.uuid7()
    await owner.execute(
        "INSERT INTO shared.messages (id, kind, type, payload)"
        " VALUES ($1, 'command', 'orbit.launch', '{}'::jsonb)",
        message_id,
    )
    return message_id


async def left(owner: asyncpg.Connection, message_id: UUID | str) -> asyncpg.Record:
    """Check that a command waits and no attempt is spent, and return its row."""
    row = await message(owner, UUID(str(message_id)))
    assert (row["status"], row["attempts"], row["failures"]) == ("pending", 0, "[]")
    assert row["available_at"] > await owner.fetchval("SELECT now() + interval '3 s'")
    return row


async def test_a_revision_that_this_release_does_not_know_is_waited_for(
    api: Client,
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    pool: asyncpg.Pool,
    provisioner: Service,
    as_operator: dict[str, str],
) -> None:
    await provisioner.stop()
    message_id = await command_for(owner, "bakery", LATER)
    for _ in range(POLICY.attempts + 2):
        await deliveries(pool, config).command(message_id, b"")
        await left(owner, message_id)
        await its_time_comes(owner, message_id)
    row = await message(owner, UUID(message_id))
    words = f"this release does not know revision {LATER}: a newer provisioner must handle it"
    assert (row["error_class"], row["last_error"]) == ("UnknownRevisionError", words)
    (seen,) = await listed(api, as_operator, status="pending", error_class="UnknownRevisionError")
    assert (seen["id"], seen["last_error"]) == (message_id, words)
    assert await told(owner, "tenant.migration_failed") == []
    assert (await api.get("/users", headers=tenant.headers)).status_code == 200


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_the_newer_provisioner_beside_the_older_one_handles_it(
    api: Client,
    delivery: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    provisioner: Service,
    tmp_path: Path,
    operator_token: str,
    concurrency: int,
) -> None:
    await provisioner.stop()
    older = replace(delivery, newer_release_delay=0.2, provision_concurrency=concurrency)
    newer = release(older, tmp_path, SCRIPT)
    async with serving(newer) as newer_api, provisioning(older):
        message_id = await asked(Operator(newer_api, operator_token), "bakery")

        async def left_by_the_older() -> bool:
            row = await message(owner, UUID(message_id))
            return bool(row["error_class"] == "UnknownRevisionError" and row["deliveries"] > 2)

        await eventually(left_by_the_older, what="a command that the older provisioner leaves")
        await becomes(api, await requested(api, "florist"), "active")  # nobody else waits for it
        async with provisioning(newer):
            row = await settles(owner, message_id, "handled")
    assert (row["attempts"], row["error_class"], row["last_error"]) == (1, None, None)
    assert await revisions(owner, "bakery") == ("r1", HEAD, "r1")


async def test_a_schema_that_is_newer_than_this_release_is_left_as_it_is(
    config: Settings, tenant: Tenant, owner: asyncpg.Connection, pool: asyncpg.Pool, provisioner: Service
) -> None:
    await provisioner.stop()
    schema = await owner.fetchval("SELECT schema_name FROM shared.tenants")
    await owner.execute(f"UPDATE {schema}.alembic_version SET version_num = $1", LATER)
    known = await command_for(owner, "bakery", BEFORE)
    await deliveries(pool, config).command(known, b"")
    await settles(owner, known, "handled")  # nothing is to be done
    unknown = await command_for(owner, "bakery", "eeeeeeeeeeee")
    await deliveries(pool, config).command(unknown, b"")
    await left(owner, unknown)
    assert (await revisions(owner, "bakery"))[2] == LATER


class Launch(Handler[Any]):
    """The newer release's handler of the type."""

    types: ClassVar = ("orbit.launch",)
    about_tenant: ClassVar = False

    def read(self, _: object) -> Any:
        return None

    async def work(self, *_: Any) -> Outcome:
        return "handled"


async def test_a_type_that_this_release_does_not_handle_is_waited_for(
    pool: asyncpg.Pool, owner: asyncpg.Connection, consumer: Deliveries
) -> None:
    message_id = await a_launch(owner)
    for _ in range(POLICY.attempts + 2):
        await consumer.command(str(message_id), b"")
        await left(owner, message_id)
        await its_time_comes(owner, message_id)
    row = await message(owner, message_id)
    assert row["error_class"] == "UnknownTypeError"
    assert "does not know commands of type orbit.launch: a newer provisioner" in row["last_error"]
    await Deliveries(pool, {"orbit.launch": Launch()}, POLICY).command(str(message_id), b"")
    row = await message(owner, message_id)
    assert (row["status"], row["attempts"], row["last_error"]) == ("handled", 1, None)


@pytest.mark.parametrize(("revision", "ends"), [(LATER, "left"), (None, "parked")])
async def test_tables_that_a_newer_release_has_changed_are_its_to_write(
    config: Settings,
    pool: asyncpg.Pool,
    owner: asyncpg.Connection,
    provision: ProvisionHandler,
    revision: str | None,
    ends: str,
) -> None:
    tenant, message_id = await pending(owner)
    await owner.execute("ALTER TABLE shared.pending_admins RENAME COLUMN first_name TO given_name")
    if revision:
        await owner.execute("UPDATE shared.alembic_version SET version_num = $1", revision)
    shared = lineage("shared", config.alembic_config)
    consumer = Deliveries(pool, {"tenant.provision": provision}, POLICY, shared)
    await consumer.command(str(message_id), b"")
    if ends == "parked":
        assert (await message(owner, message_id))["error_class"] == "UndefinedColumnError"
        assert await tenant_status(owner, tenant) == "failed"
        return
    row = await left(owner, message_id)
    assert row["error_class"] == "UnknownSharedRevisionError"
    assert f"revision {LATER} of shared" in row["last_error"]
    assert "UndefinedColumnError" in row["last_error"]
    assert await events(owner, tenant) == ["tenant.requested"]
    # The newer release's provisioner, to which the table is as it should be.
    await owner.execute("ALTER TABLE shared.pending_admins RENAME COLUMN given_name TO first_name")
    await its_time_comes(owner, message_id)
    await consumer.command(str(message_id), b"")
    assert await tenant_status(owner, tenant) == "active"


async def test_a_sign_up_goes_on_where_a_newer_release_has_only_added_to_the_tables(
    config: Settings, api: Client, owner: asyncpg.Connection
) -> None:
    await owner.execute("ALTER TABLE shared.pending_admins ADD COLUMN middle_name text")
    await owner.execute("UPDATE shared.alembic_version SET version_num = $1", LATER)
    async with provisioning(config):
        await becomes(api, await requested(api, "bakery"), "active")
    assert await owner.fetchval("SELECT version_num FROM shared.alembic_version") == LATER
    assert (await api.get("/health/ready")).status_code == 200


async def test_an_operator_archives_what_no_release_will_come_for(
    api: Client, owner: asyncpg.Connection, consumer: Deliveries, as_operator: dict[str, str]
) -> None:
    message_id = await a_launch(owner)
    path = f"/cc/messages/{message_id}/archive"
    assert (
        await api.post(path, headers=as_operator, json=WHY)
    ).status_code == 409  # nobody has looked at it yet
    await consumer.command(str(message_id), b"")
    assert (await api.post(path, headers=as_operator, json=WHY)).status_code == 200
    assert (await message(owner, message_id))["status"] == "archived"
    await its_time_comes(owner, message_id)
    await consumer.command(str(message_id), b"")
    detail = await history.get(owner, message_id)
    assert detail is not None
    assert (detail.status, [entry.name for entry in detail.timeline][-1]) == ("archived", "message.archive")
