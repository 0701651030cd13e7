"""Suspend, resume, delete, restore, rename: what clients see of it, and what ledger and audit log keep."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec
import pytest

from db.settings import Settings
from tests.operators import Operator
from tests.support import (
    Client,
    Service,
    Tenant,
    becomes,
    eventually,
    one,
    problem,
    provisioning,
    requested,
    serving,
    sign_up,
)


async def events(owner: asyncpg.Connection, slug: str) -> list[tuple[str, int]]:
    """Return type and version of the events of a tenant, in the order in which they were written."""
    rows = await owner.fetch(
        "SELECT type, tenant_version FROM shared.messages WHERE kind = 'event' AND tenant_id ="
        " (SELECT id FROM shared.tenants WHERE slug = $1) ORDER BY id",
        slug,
    )
    return [(row["type"], row["tenant_version"]) for row in rows]


async def test_a_suspended_tenants_next_request_is_refused_until_it_is_resumed(
    api: Client, tenant: Tenant, operator: Operator
) -> None:
    assert (await api.get("/users", headers=tenant.headers)).status_code == 200
    assert (await operator.has("suspend", "bakery", reason="unpaid"))["status"] == "suspended"
    problem(await api.get("/users", headers=tenant.headers), 403, "tenant-suspended")
    assert (await operator.has("resume", "bakery"))["status"] == "active"
    assert (await api.get("/users", headers=tenant.headers)).status_code == 200


async def test_a_deleted_tenants_token_is_worth_nothing_until_it_is_restored(
    api: Client, tenant: Tenant, operator: Operator
) -> None:
    await api.post("/users", headers=tenant.headers, json={"email": "ann@example.com"})
    await operator.has("delete", "bakery")
    problem(await api.get("/users", headers=tenant.headers), 403, "tenant-forbidden")
    problem(await api.get("/tenants/bakery", headers=tenant.bearer), 403, "tenant-forbidden")
    await operator.has("restore", "bakery")
    listed = await api.get("/users", headers=tenant.headers)
    assert [user["email"] for user in listed.json()["items"]] == ["ann@example.com"]


async def test_a_deleted_tenant_keeps_its_slug(api: Client, tenant: Tenant, operator: Operator) -> None:
    await operator.has("delete", "bakery")
    answer = await api.post("/tenants", json={"name": "Another", "slug": "bakery"})
    problem(answer, 409, "slug-taken")


async def test_a_deleted_tenant_says_until_when_it_can_be_restored(
    tenant: Tenant, operator: Operator
) -> None:
    await operator.has("delete", "bakery")
    seen = await operator.sees("bakery")
    until = datetime.fromisoformat(seen["purge_after"])
    assert (seen["status"], seen["status_before"]) == ("deleted", "active")
    assert timedelta(days=29) < until - datetime.now(UTC) <= timedelta(days=30)


async def test_after_its_time_a_deleted_tenant_cannot_be_restored(
    tenant: Tenant, operator: Operator, owner: asyncpg.Connection
) -> None:
    await operator.has("delete", "bakery")
    await owner.execute("UPDATE shared.tenants SET purge_after = now() - interval '1 second'")
    problem(await operator.does("restore", "bakery"), 409, "state-conflict")
    await owner.execute("UPDATE shared.tenants SET purge_after = now() + interval '1 minute'")
    assert (await operator.has("restore", "bakery"))["status"] == "active"


async def test_a_suspended_tenant_is_suspended_again_after_its_restore(
    tenant: Tenant, operator: Operator
) -> None:
    await operator.has("suspend", "bakery")
    await operator.has("delete", "bakery")
    assert (await operator.has("restore", "bakery"))["status"] == "suspended"


ALLOWED = {
    "pending": {"delete"},
    "provisioning": set(),
    "active": {"suspend", "delete"},
    "failed": {"delete"},
    "suspended": {"resume", "delete"},
    "deleted": {"restore"},  # and a second deletion, which changes nothing
    "purging": set(),
}


@pytest.mark.parametrize("state", ALLOWED)
@pytest.mark.parametrize("act", ["suspend", "resume", "delete", "restore"])
async def test_an_act_that_the_state_does_not_allow_is_refused_and_changes_nothing(
    api: Client, operator: Operator, owner: asyncpg.Connection, state: str, act: str
) -> None:
    await requested(api, "bakery")
    # Restorable to what a resume or a suspension would make of it, so that neither may pass for a restore.
    before = {"resume": "active", "suspend": "suspended"}.get(act, "active")
    await owner.execute(
        "UPDATE shared.tenants SET status = $1, status_before = $2, purge_after = $3",
        state,
        before if state == "deleted" else None,
        datetime.now(UTC) + timedelta(days=1) if state == "deleted" else None,
    )
    unchanged = await owner.fetchrow("SELECT * FROM shared.tenants")
    told = await events(owner, "bakery")
    answer = await operator.does(act, "bakery")
    if act in ALLOWED[state]:
        assert answer.is_success, answer.text
        assert len(await events(owner, "bakery")) == len(told) + 1
    else:
        if (act, state) == ("delete", "deleted"):
            assert answer.status_code == 204
        else:
            problem(answer, 409, "state-conflict")
        assert await owner.fetchrow("SELECT * FROM shared.tenants") == unchanged
        assert await events(owner, "bakery") == told


async def test_a_second_deletion_is_answered_as_the_first_and_is_none(
    tenant: Tenant, operator: Operator, owner: asyncpg.Connection
) -> None:
    answers, rows = [], []
    for _ in range(2):
        answers.append(await operator.does("delete", "bakery", reason="closed"))
        rows.append(await owner.fetchrow("SELECT * FROM shared.tenants"))
    assert [(answer.status_code, answer.content) for answer in answers] == [(204, b"")] * 2
    assert rows[0] == rows[1]
    assert [kind for kind, _ in await events(owner, "bakery")].count("tenant.deleted") == 1
    assert await owner.fetchval("SELECT count(*) FROM shared.audit_log WHERE action = 'tenant.delete'") == 1


async def test_each_act_writes_its_event_at_the_tenants_next_version(
    tenant: Tenant, operator: Operator, owner: asyncpg.Connection
) -> None:
    for act in ("suspend", "resume", "delete", "restore"):
        await operator.has(act, "bakery")
    await operator.has("rename", "bakery", slug="bakehouse")
    told = await events(owner, "bakehouse")
    assert [kind for kind, _ in told] == [
        "tenant.requested",
        "tenant.provisioned",
        "tenant.suspended",
        "tenant.resumed",
        "tenant.deleted",
        "tenant.restored",
        "tenant.renamed",
    ]
    versions = [version for _, version in told]
    assert versions == sorted(set(versions))


async def test_each_act_leaves_its_reason_and_its_request_in_the_audit_log(
    api: Client, tenant: Tenant, operator: Operator, owner: asyncpg.Connection
) -> None:
    answer = await operator.does("suspend", "bakery", reason="unpaid since May")
    await operator.has("delete", "bakery", reason="asked for")
    rows = await owner.fetch(
        "SELECT * FROM shared.audit_log"
        " WHERE action <> ALL ('{tenant.create,operator_token.create}') ORDER BY id"
    )
    assert [row["action"] for row in rows] == ["tenant.suspend", "tenant.delete"]
    assert [msgspec.json.decode(row["detail"])["reason"] for row in rows] == ["unpaid since May", "asked for"]
    assert rows[0]["request_id"] == answer.headers["x-request-id"]
    assert {str(row["tenant_id"]) for row in rows} == {tenant.id}
    tokens = {row["actor"] for row in rows}
    assert tokens == {await owner.fetchval("SELECT id FROM shared.access_tokens WHERE name = 'test'")}


async def test_two_operators_at_once_suspend_a_tenant_once(
    tenant: Tenant, operator: Operator, owner: asyncpg.Connection
) -> None:
    answers = await asyncio.gather(*(operator.does("suspend", "bakery") for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    told = [kind for kind, _ in await events(owner, "bakery")]
    assert told.count("tenant.suspended") == 1


async def test_a_tenant_deleted_while_it_waited_becomes_active_after_its_restore(
    config: Settings, operator_token: str, owner: asyncpg.Connection
) -> None:
    async with serving(config) as api:
        operator = Operator(api, operator_token)
        tenant = await requested(api, "bakery")
        await operator.has("delete", "bakery")
        async with provisioning(config):
            # Its command arrives, and finds that the tenant has moved on; only then goes the event.
            florist = await sign_up(api, "florist")
            await all_settled(owner)
            assert (await operator.sees("bakery"))["status"] == "deleted"
            assert (await operator.has("restore", "bakery"))["status"] == "pending"
            await becomes(api, tenant, "active")
            assert (await api.get("/users", headers=tenant.headers)).status_code == 200
            assert (await api.get("/users", headers=florist.headers)).status_code == 200
    statuses = await owner.fetch(
        "SELECT status FROM shared.messages WHERE type = 'tenant.provision' AND tenant_id = $1 ORDER BY id",
        tenant.id,
    )
    assert [row["status"] for row in statuses] == ["superseded", "handled"]


async def all_settled(owner: asyncpg.Connection) -> None:
    """Wait until no message is on its way."""

    async def settled() -> bool:
        return not await owner.fetchval(
            "SELECT count(*) FROM shared.messages WHERE status = 'pending'"
            " OR (kind = 'command' AND status = 'published')"
        )

    await eventually(settled, what="an empty outbox")


async def test_a_failed_tenant_is_failed_again_after_its_restore_while_its_command_can_be_replayed(
    api: Client, operator: Operator, owner: asyncpg.Connection
) -> None:
    await requested(api, "bakery")
    await owner.execute("UPDATE shared.tenants SET status = 'failed'")
    await owner.execute("UPDATE shared.messages SET status = 'parked' WHERE kind = 'command'")
    await operator.has("delete", "bakery")
    assert (await operator.has("restore", "bakery"))["status"] == "failed"
    assert await owner.fetchval("SELECT count(*) FROM shared.messages WHERE kind = 'command'") == 1


async def test_a_failed_tenant_whose_command_is_gone_gets_a_fresh_one_with_its_restore(
    api: Client, operator: Operator, owner: asyncpg.Connection, config: Settings
) -> None:
    tenant = await requested(api, "bakery")
    await owner.execute("UPDATE shared.tenants SET status = 'failed'")
    await owner.execute("UPDATE shared.messages SET status = 'superseded' WHERE kind = 'command'")
    await operator.has("delete", "bakery")
    await operator.has("restore", "bakery")
    async with provisioning(config):
        await becomes(api, tenant, "active")


async def test_a_renamed_tenant_answers_to_its_new_slug_alone_and_with_the_same_key(
    api: Client, tenant: Tenant, operator: Operator, owner: asyncpg.Connection
) -> None:
    done = await operator.has("rename", "bakery", slug="Bakehouse", name="The Bakehouse")
    assert (done["slug"], done["name"]) == ("bakehouse", "The Bakehouse")
    problem(await api.get("/users", headers=tenant.headers), 403, "tenant-forbidden")
    renamed = {**tenant.headers, "tenant": "bakehouse"}
    assert (await api.get("/users", headers=renamed)).status_code == 200
    event = await one(owner, "SELECT payload FROM shared.messages WHERE type = 'tenant.renamed'")
    data = msgspec.json.decode(event["payload"])["data"]
    assert (data["slug"], data["slug_before"]) == ("bakehouse", "bakery")


async def test_a_rename_to_what_is_taken_refused_or_nothing_changes_nothing(
    api: Client, tenant: Tenant, operator: Operator, provisioner: Service, owner: asyncpg.Connection
) -> None:
    await requested(api, "florist")
    version = (await operator.sees("bakery"))["version"]
    problem(await operator.does("rename", "bakery", slug="florist"), 409, "slug-taken")
    refused = problem(await operator.does("rename", "bakery", slug="pg_x"), 400, "validation")
    assert refused["errors"][0]["field"] == "slug"
    problem(await operator.does("rename", "bakery", reason="none"), 400, "validation")
    assert (await operator.has("rename", "bakery", slug="bakery"))["version"] == version
    assert "tenant.renamed" not in [kind for kind, _ in await events(owner, "bakery")]
