"""Pausing the provisioners: commands wait, events go on, and no attempt is spent."""

import asyncio
import time

import asyncpg

from api.cli.doctor import examine
from db.settings import Settings
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
    status,
)

WHY = {"reason": "the disk is being replaced"}


async def pause(api: Client, as_operator: dict[str, str]) -> None:
    answer = await api.post("/cc/provisioner/pause", headers=as_operator, json=WHY)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["paused"], answer.json()["reason"]) == (True, WHY["reason"])


async def resume(api: Client, as_operator: dict[str, str]) -> None:
    answer = await api.post("/cc/provisioner/resume", headers=as_operator, json={"reason": "it is replaced"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["paused"] is False


async def event_published(owner: asyncpg.Connection, tenant: Tenant) -> None:
    """Wait until a sign-up's event is out: the relay has looked at the ledger since."""

    async def probe() -> bool:
        return bool(
            await owner.fetchval(
                "SELECT EXISTS (SELECT FROM shared.messages WHERE tenant_id = $1::text::uuid"
                " AND type = 'tenant.requested' AND status = 'published')",
                tenant.id,
            )
        )

    await eventually(probe, what="the event published")


async def command(owner: asyncpg.Connection, tenant: Tenant) -> asyncpg.Record:
    return await one(
        owner,
        "SELECT status, attempts, deliveries FROM shared.messages"
        " WHERE tenant_id = $1::text::uuid AND type = 'tenant.provision'",
        tenant.id,
    )


async def test_while_paused_events_go_out_and_commands_wait_until_resumed(
    delivery: Settings, as_operator: dict[str, str], owner: asyncpg.Connection
) -> None:
    async with serving(delivery) as api, provisioning(delivery), provisioning(delivery):
        await becomes(api, await requested(api, "before"), "active")
        await pause(api, as_operator)
        tenant = await requested(api, "bakery")
        await event_published(owner, tenant)
        waiting = await command(owner, tenant)
        assert (waiting["status"], waiting["attempts"], waiting["deliveries"]) == ("pending", 0, 0)
        assert await status(api, tenant) == "pending"
        resumed = time.monotonic()
        await resume(api, as_operator)
        await becomes(api, tenant, "active", within=5)
        assert time.monotonic() - resumed < 5
        assert (await command(owner, tenant))["attempts"] == 1


async def test_a_command_that_was_out_already_is_given_back_without_spending_an_attempt(
    api: Client, config: Settings, as_operator: dict[str, str], owner: asyncpg.Connection
) -> None:
    tenant = await requested(api, "bakery")
    await pause(api, as_operator)
    # As if it had been in the broker when the pause began: in process, a start delivers it anew.
    await owner.execute(
        "UPDATE shared.messages SET status = 'published', published_at = now() WHERE kind = 'command'"
    )
    async with provisioning(config):

        async def back() -> bool:
            return bool((await command(owner, tenant))["status"] == "pending")

        await eventually(back, what="the command given back")
        assert (await command(owner, tenant))["attempts"] == 0
        assert await status(api, tenant) == "pending"
        await resume(api, as_operator)
        await becomes(api, tenant, "active", within=5)


async def test_a_pause_holds_for_a_provisioner_that_starts_later(
    api: Client, config: Settings, as_operator: dict[str, str], owner: asyncpg.Connection
) -> None:
    await pause(api, as_operator)
    tenant = await requested(api, "bakery")
    async with provisioning(config):
        await event_published(owner, tenant)
        assert (await command(owner, tenant))["status"] == "pending"
    await resume(api, as_operator)
    async with provisioning(config):
        await becomes(api, tenant, "active")


async def test_both_can_be_repeated_and_are_audited_with_their_reasons(
    api: Client, as_operator: dict[str, str], owner: asyncpg.Connection
) -> None:
    untouched = (await api.get("/cc/provisioner", headers=as_operator)).json()
    assert untouched == {"paused": False, "reason": None, "changed_by": None, "changed_at": None}
    for _ in range(2):
        await pause(api, as_operator)
    assert (await api.get("/cc/provisioner", headers=as_operator)).json()["paused"] is True
    for _ in range(2):
        await resume(api, as_operator)
    rows = await owner.fetch(
        "SELECT action, detail->>'reason' AS reason FROM shared.audit_log"
        " WHERE action <> 'operator_token.create' ORDER BY id"
    )
    assert [(row["action"], row["reason"]) for row in rows] == [
        ("provisioner.pause", WHY["reason"]),
        ("provisioner.pause", WHY["reason"]),
        ("provisioner.resume", "it is replaced"),
        ("provisioner.resume", "it is replaced"),
    ]


async def test_only_operators_pause_and_only_with_a_reason(
    api: Client, as_operator: dict[str, str], provisioner: Service
) -> None:
    tenant = await requested(api, "bakery")
    for verb in ("pause", "resume"):
        at = f"/cc/provisioner/{verb}"
        problem(await api.post(at, json=WHY), 401, "unauthenticated")
        problem(await api.post(at, json=WHY, headers=tenant.headers), 403, "forbidden")
        problem(await api.post(at, json={}, headers=as_operator), 400, "validation")
    await asyncio.wait_for(becomes(api, tenant, "active"), 30)


async def test_a_pause_is_not_forgotten(
    api: Client, config: Settings, provisioner: Service, as_operator: dict[str, str]
) -> None:
    async def ok() -> bool:
        return bool((await api.get("/health/ready")).json()["status"] == "ok")

    await eventually(ok, what="a provisioner heard")
    await pause(api, as_operator)
    ready = await api.get("/health/ready")
    assert ready.status_code == 200  # tenants are served
    assert (ready.json()["status"], ready.json()["paused"]) == ("degraded", True)
    assert [finding.problem for finding in await examine(config)] == ["are paused"]
    await resume(api, as_operator)
    assert (await api.get("/health/ready")).json()["paused"] is False
    assert await examine(config) == []
