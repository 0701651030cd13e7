"""A tenant's provisioning as server-sent events."""

import asyncio
import time
from typing import Any

import asyncpg
import httpx
import msgspec
from msgspec.structs import replace

from db.settings import Settings
from tests.support import Client, Service, Tenant, becomes, problem, provisioning, requested, serving, sign_up


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    """Return the data of a stream's ``status`` events."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in answer.text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields.get("event") == "status":
            found.append(msgspec.json.decode(fields["data"], type=dict[str, Any]))
    return found


async def test_the_stream_tells_each_change_and_ends_when_the_tenant_is_active(
    api: Client, config: Settings
) -> None:
    tenant = await requested(api, "bakery")
    watching = asyncio.create_task(api.get("/tenants/bakery/events", headers=tenant.bearer))
    await asyncio.sleep(0)
    async with provisioning(config):
        seen = events(await asyncio.wait_for(watching, 20))
    assert seen[0]["status"] == "pending"
    assert seen[-1]["status"] == "active"
    assert seen[-1]["timeline"][0]["type"] == "tenant.requested"
    now = (await api.get("/tenants/bakery", headers=tenant.bearer)).json()
    assert {**seen[-1], "timeline": None} == {**now, "timeline": None}


async def test_the_stream_of_an_active_tenant_ends_at_once(
    api: Client, tenant: Tenant, operator_token: str
) -> None:
    for bearer in (tenant.bearer, {"authorization": f"Bearer {operator_token}"}):
        seen = events(await asyncio.wait_for(api.get("/tenants/bakery/events", headers=bearer), 5))
        assert [event["status"] for event in seen] == ["active"]


async def test_the_stream_ends_when_provisioning_has_failed(api: Client, owner: asyncpg.Connection) -> None:
    tenant = await requested(api, "bakery")
    watching = asyncio.create_task(api.get("/tenants/bakery/events", headers=tenant.bearer))
    await asyncio.sleep(0.2)
    await owner.execute("UPDATE shared.tenants SET status = 'failed'")
    assert [event["status"] for event in events(await asyncio.wait_for(watching, 5))] == ["pending", "failed"]


async def test_a_stream_is_bounded_and_longer_than_a_requests_deadline(config: Settings) -> None:
    async with serving(replace(config, stream_limit=1.0, request_deadline=0.5, stream_poll=0.1)) as api:
        tenant = await requested(api, "bakery")
        began = time.monotonic()
        seen = events(await asyncio.wait_for(api.get("/tenants/bakery/events", headers=tenant.bearer), 10))
    assert [event["status"] for event in seen] == ["pending"]
    assert time.monotonic() - began >= 1.0


async def test_strangers_see_nothing(
    api: Client, tenant: Tenant, provisioner: Service, operator_token: str
) -> None:
    other = await sign_up(api, "florist")
    for slug in ("bakery", "nobody"):
        problem(await api.get(f"/tenants/{slug}/events", headers=other.bearer), 403, "tenant-forbidden")
    problem(await api.get("/tenants/bakery/events"), 401, "unauthenticated")
    bearer = {"authorization": f"Bearer {operator_token}"}
    problem(await api.get("/tenants/nobody/events", headers=bearer), 404, "not-found")
    await becomes(api, tenant, "active")
