"""Messages, as operators see them and send them again: the ledger over ``/cc/messages``."""

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from db import bootstrap
from db.settings import Settings
from tests.messages import WHY, blocked, healed, listed, parked
from tests.support import (
    BY_TEST,
    Client,
    Service,
    Tenant,
    becomes,
    eventually,
    one,
    problem,
    requested,
    sign_up,
)


async def test_a_failed_tenant_becomes_active_when_its_parked_provision_is_replayed(
    api: Client, as_operator: dict[str, str], owner: asyncpg.Connection, failed: Tenant
) -> None:
    message_id = await parked(api, as_operator)
    await healed(owner, failed.slug)
    answer = await api.post(f"/cc/messages/{message_id}/replay", headers=as_operator, json=WHY)
    assert answer.status_code == 200
    assert (answer.json()["id"], answer.json()["replays"]) == (message_id, 1)
    await becomes(api, failed, "active")
    made = await api.post("/roles", headers=failed.headers, json={"role_name": "Baker"})
    assert made.status_code == 201
    after = (await api.get(f"/cc/messages/{message_id}", headers=as_operator)).json()
    assert (after["status"], after["attempts"], after["error_class"]) == ("handled", 1, None)


async def test_a_replay_that_fails_again_parks_the_message_again(
    api: Client, as_operator: dict[str, str], failed: Tenant
) -> None:
    message_id = await parked(api, as_operator)
    await api.post(f"/cc/messages/{message_id}/replay", headers=as_operator, json=WHY)

    async def parked_again() -> bool:
        message = (await api.get(f"/cc/messages/{message_id}", headers=as_operator)).json()
        return (message["status"], message["replays"]) == ("parked", 1)

    await eventually(parked_again, what="the message parked again")
    await becomes(api, failed, "failed")


async def test_a_message_shows_its_payload_its_failure_and_its_timeline(
    api: Client, as_operator: dict[str, str], failed: Tenant
) -> None:
    message_id = await parked(api, as_operator)
    await api.post(f"/cc/messages/{message_id}/archive", headers=as_operator, json=WHY)
    message = (await api.get(f"/cc/messages/{message_id}", headers=as_operator)).json()
    assert message["payload"]["specversion"] == "1.0"
    assert message["payload"]["data"] == {"tenant_id": failed.id}
    assert (message["tenant"], message["attempts"]) == ("bakery", 1)
    assert message["error_class"] == "DuplicateSchemaError"
    assert "create_schema" in message["traceback"]
    assert message["frame"].startswith("db/server/roles.py:")
    steps = [(step["what"], step["name"]) for step in message["timeline"]]
    assert steps[:2] == [("cause", "tenant.requested"), ("self", "tenant.provision")]
    assert ("effect", "tenant.provisioning_failed") in steps
    assert ("effect", "message.parked") in steps
    audit = message["timeline"][-1]
    assert (audit["what"], audit["name"], audit["reason"]) == ("audit", "message.archive", WHY["reason"])
    assert audit["actor"] in as_operator["authorization"]


async def test_lists_are_filtered_by_every_name(
    api: Client, as_operator: dict[str, str], owner: asyncpg.Connection, provisioner: Service, failed: Tenant
) -> None:
    await sign_up(api, "florist")
    moment = (await one(owner, "SELECT max(created_at) AS at FROM shared.messages"))["at"].isoformat()

    async def seen(**filters: str) -> set[tuple[str, str]]:
        return {(m["tenant"], m["type"]) for m in await listed(api, as_operator, **filters)}

    assert len(await seen()) == 7
    assert await seen(status="parked") == {("bakery", "tenant.provision")}
    assert await seen(type="tenant.provision") == {
        ("bakery", "tenant.provision"),
        ("florist", "tenant.provision"),
    }
    assert await seen(tenant="florist", kind="event") == {
        ("florist", "tenant.requested"),
        ("florist", "tenant.provisioned"),
    }
    assert await seen(error_class="DuplicateSchemaError") == {("bakery", "tenant.provision")}
    assert await seen(since=moment) == {("florist", "tenant.provisioned")}
    assert await seen(status="parked", tenant="florist") == set()
    problem(await api.get("/cc/messages?status=lost", headers=as_operator), 400, "validation")
    problem(await api.get("/cc/messages?since=yesterday", headers=as_operator), 400, "validation")


async def test_a_list_can_be_read_page_by_page_newest_first(
    api: Client, as_operator: dict[str, str], provisioner: Service
) -> None:
    await asyncio.gather(*(sign_up(api, f"shop{n}") for n in range(3)))
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": "4"} | ({"cursor": cursor} if cursor else {})
        page = (await api.get("/cc/messages", headers=as_operator, params=params)).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == 9
    assert seen == sorted(set(seen), key=lambda text: UUID(text).int, reverse=True)
    problem(await api.get("/cc/messages?cursor=nonsense", headers=as_operator), 400, "validation")


async def test_messages_that_failed_alike_are_one_group(
    api: Client, as_operator: dict[str, str], owner: asyncpg.Connection, provisioner: Service
) -> None:
    await provisioner.stop()
    tenants = [await blocked(api, owner, f"shop{n}") for n in range(3)]
    await provisioner.start()
    for tenant in tenants:
        await becomes(api, tenant, "failed")
    (group,) = (await api.get("/cc/messages/groups", headers=as_operator)).json()["items"]
    assert (group["type"], group["error_class"], group["count"]) == (
        "tenant.provision",
        "DuplicateSchemaError",
        3,
    )
    assert group["frame"].startswith("db/server/roles.py:")
    assert "already exists" in group["error"]
    assert group["oldest"] < group["newest"]
    assert group["sample"] in {message["id"] for message in await listed(api, as_operator, status="parked")}
    answer = await api.get("/cc/messages/groups?tenant=shop1", headers=as_operator)
    assert [group["count"] for group in answer.json()["items"]] == [1]


async def test_a_handled_command_runs_again_and_finds_its_work_done(
    api: Client, as_operator: dict[str, str], tenant: Tenant
) -> None:
    (command,) = await listed(api, as_operator, type="tenant.provision")
    before = len(await listed(api, as_operator))
    answer = await api.post(f"/cc/messages/{command['id']}/replay", headers=as_operator, json=WHY)
    assert answer.status_code == 200

    async def handled_again() -> bool:
        message = (await api.get(f"/cc/messages/{command['id']}", headers=as_operator)).json()
        return (message["status"], message["replays"]) == ("handled", 1)

    await eventually(handled_again, what="the command handled again")
    assert len(await listed(api, as_operator)) == before
    await becomes(api, tenant, "active")


async def test_an_event_is_published_again_under_its_own_id(
    api: Client, as_operator: dict[str, str], tenant: Tenant
) -> None:
    async def published() -> dict[str, Any] | None:
        (event,) = await listed(api, as_operator, type="tenant.provisioned")
        return event if event["status"] == "published" else None

    event = await eventually(published, what="the event published")
    assert event is not None
    again = await api.post(f"/cc/messages/{event['id']}/replay", headers=as_operator, json=WHY)
    assert again.status_code == 200

    async def published_again() -> bool:
        now = await published()
        return now is not None and now["id"] == event["id"] and now["deliveries"] == 2

    await eventually(published_again, what="the event published again")


async def test_what_has_not_come_to_an_end_cannot_be_replayed(
    api: Client, as_operator: dict[str, str], owner: asyncpg.Connection
) -> None:
    await requested(api, "bakery")
    (command,) = await listed(api, as_operator, type="tenant.provision")
    for status in ("pending", "published", "superseded"):
        await owner.execute("UPDATE shared.messages SET status = $1 WHERE kind = 'command'", status)
        answer = await api.post(f"/cc/messages/{command['id']}/replay", headers=as_operator, json=WHY)
        problem(answer, 409, "state-conflict")
    assert await owner.fetchval("SELECT count(*) FROM shared.audit_log WHERE action LIKE 'message.%'") == 0


async def test_an_archived_message_can_be_restored_or_replayed(
    api: Client, as_operator: dict[str, str], owner: asyncpg.Connection, failed: Tenant
) -> None:
    at = f"/cc/messages/{await parked(api, as_operator)}"
    problem(await api.post(f"{at}/restore", headers=as_operator, json=WHY), 409, "state-conflict")
    assert (await api.post(f"{at}/archive", headers=as_operator, json=WHY)).json()["status"] == "archived"
    problem(await api.post(f"{at}/archive", headers=as_operator, json=WHY), 409, "state-conflict")
    assert (await api.post(f"{at}/restore", headers=as_operator, json=WHY)).json()["status"] == "parked"
    await api.post(f"{at}/archive", headers=as_operator, json=WHY)
    await healed(owner, failed.slug)
    assert (await api.post(f"{at}/replay", headers=as_operator, json=WHY)).status_code == 200
    await becomes(api, failed, "active")


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "  "}, {"reason": "x", "force": True}])
async def test_nothing_is_done_without_a_reason(
    api: Client, as_operator: dict[str, str], failed: Tenant, body: dict[str, Any]
) -> None:
    message_id = await parked(api, as_operator)
    for verb in ("replay", "archive", "restore"):
        answer = await api.post(f"/cc/messages/{message_id}/{verb}", headers=as_operator, json=body)
        problem(answer, 400, "validation")
    assert await parked(api, as_operator) == message_id


async def test_a_message_that_is_not_there_is_not_found(api: Client, as_operator: dict[str, str]) -> None:
    nowhere = "/cc/messages/00000000-0000-7000-8000-000000000000"
    problem(await api.get(nowhere, headers=as_operator), 404, "not-found")
    for verb in ("replay", "archive", "restore"):
        problem(await api.post(f"{nowhere}/{verb}", headers=as_operator, json=WHY), 404, "not-found")
    problem(await api.get("/cc/messages/nonsense", headers=as_operator), 404, "not-found")


async def test_tenants_and_strangers_see_no_messages(
    api: Client, config: Settings, tenant: Tenant, owner: asyncpg.Connection
) -> None:
    message_id = await owner.fetchval("SELECT id FROM shared.messages LIMIT 1")
    paths = ("/cc/messages", "/cc/messages/groups", f"/cc/messages/{message_id}")
    for path in paths:
        problem(await api.get(path), 401, "unauthenticated")
        problem(await api.get(path, headers=tenant.headers), 403, "forbidden")
    another = await bootstrap.mint_operator(config.require("owner_database_url"), "another", BY_TEST)
    for path in paths:
        assert (await api.get(path, headers={"authorization": f"Bearer {another}"})).status_code == 200
