"""API keys: made, shown once, rotated, revoked."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from db.settings import Settings
from tests.people import hire, key_with, log_in, permission_id, role_id
from tests.support import Client, Service, Tenant, eventually, problem, provisioning, serving, sign_up


async def listed(api: Client, tenant: Tenant) -> list[dict[str, Any]]:
    answer = await api.get("/keys", headers=tenant.headers)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_a_key_is_shown_once_and_works(api: Client, tenant: Tenant, owner: asyncpg.Connection) -> None:
    made = await api.post("/keys", headers=tenant.headers, json={"name": "till", "scopes": ["users:read"]})
    assert made.status_code == 201
    body = made.json()
    till = Tenant(tenant.id, tenant.slug, body["api_key"])
    assert body["api_key"].startswith("tnt_")
    assert (await api.get("/users", headers=till.headers)).status_code == 200
    problem(await api.post("/users", headers=till.headers, json={"email": "x@example.com"}), 403, "forbidden")
    first, second = await listed(api, tenant)
    assert (first["name"], second["name"], second["scopes"]) == ("first key", "till", ["users:read"])
    assert second["id"] == body["id"]
    secret = body["api_key"].split("_")[2]
    assert secret not in (await api.get("/keys", headers=tenant.headers)).text
    stored = await owner.fetch("SELECT t::text FROM shared.access_tokens t")
    assert not any(secret in row["t"] for row in stored)


async def test_two_keys_live_side_by_side_and_the_old_one_can_go(api: Client, tenant: Tenant) -> None:
    fresh = await key_with(api, tenant, "keys:read", "keys:write", "users:read")
    for who in (tenant, fresh):
        assert (await api.get("/users", headers=who.headers)).status_code == 200
    old = (await listed(api, fresh))[0]["id"]
    assert (await api.delete(f"/keys/{old}", headers=fresh.headers)).status_code == 204
    problem(await api.get("/users", headers=tenant.headers), 401, "unauthenticated")
    assert (await api.get("/users", headers=fresh.headers)).status_code == 200
    assert [key["name"] for key in await listed(api, fresh)] == ["narrow"]
    problem(await api.delete(f"/keys/{old}", headers=fresh.headers), 404, "not-found")


async def test_a_revoked_key_ends_on_every_worker(api: Client, tenant: Tenant, config: Settings) -> None:
    till = await key_with(api, tenant, "users:read")
    async with serving(config) as other:
        assert (await other.get("/users", headers=till.headers)).status_code == 200
        assert (
            await api.delete(f"/keys/{till.key.split('_')[1]}", headers=tenant.headers)
        ).status_code == 204
        problem(await api.get("/users", headers=till.headers), 401, "unauthenticated")

        async def ended() -> bool:
            return (await other.get("/users", headers=till.headers)).status_code == 401

        await eventually(ended, within=2, what="the key's end on the other worker")


async def test_without_scopes_a_key_permits_what_its_maker_may(api: Client, tenant: Tenant) -> None:
    narrow = await key_with(api, tenant, "keys:write", "users:read")
    made = await api.post("/keys", headers=narrow.headers, json={"name": "copy"})
    assert sorted(made.json()["scopes"]) == ["keys:write", "users:read"]


async def test_nobody_makes_a_key_that_may_more_than_they(api: Client, staffed: Tenant) -> None:
    narrow = await key_with(api, staffed, "keys:write", "users:read")
    wider = {"name": "wide", "scopes": ["users:read", "users:write"]}
    problem(await api.post("/keys", headers=narrow.headers, json=wider), 403, "forbidden")
    await hire(api, staffed, "bob@example.com", "ADMIN")
    bob = await log_in(api, "bob@example.com")
    problem(await api.post("/keys", headers=bob.headers, json={"name": "x"}), 403, "forbidden")
    link = (
        f"/roles/{await role_id(api, staffed, 'ADMIN')}"
        f"/permissions/{await permission_id(api, staffed, 'keys:write')}"
    )
    assert (await api.put(link, headers=staffed.headers)).status_code == 204
    made = await api.post("/keys", headers=bob.headers, json={"name": "till", "scopes": ["users:read"]})
    assert made.status_code == 201
    roles = {"name": "roles", "scopes": ["roles:write"]}
    problem(await api.post("/keys", headers=bob.headers, json=roles), 403, "forbidden")


async def test_a_key_expires(api: Client, tenant: Tenant) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    made = await api.post(
        "/keys", headers=tenant.headers, json={"name": "brief", "expires_at": soon.isoformat()}
    )
    brief = Tenant(tenant.id, tenant.slug, made.json()["api_key"])
    assert (await api.get("/users", headers=brief.headers)).status_code == 200

    async def ended() -> bool:
        return (await api.get("/users", headers=brief.headers)).status_code == 401

    await eventually(ended, within=5, what="the key's end")
    assert datetime.now(UTC) >= soon


async def test_a_tenant_has_so_many_live_keys_and_no_more(config: Settings) -> None:
    async with serving(replace(config, key_limit=3)) as api, provisioning(config):
        tenant = await sign_up(api, "bakery")
        answers = await asyncio.gather(
            *(api.post("/keys", headers=tenant.headers, json={"name": f"key {n}"}) for n in range(6))
        )
        assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409, 409, 409]
        problem(await api.post("/keys", headers=tenant.headers, json={"name": "x"}), 409, "key-limit")
        last = (await listed(api, tenant))[-1]["id"]
        assert (await api.delete(f"/keys/{last}", headers=tenant.headers)).status_code == 204
        assert (await api.post("/keys", headers=tenant.headers, json={"name": "x"})).status_code == 201


async def test_keys_of_one_tenant_are_nothing_to_another(
    api: Client, tenant: Tenant, provisioner: Service
) -> None:
    other = await sign_up(api, "florist")
    mine = (await listed(api, tenant))[0]["id"]
    problem(await api.delete(f"/keys/{mine}", headers=other.headers), 404, "not-found")
    assert mine not in [key["id"] for key in await listed(api, other)]
    assert (await api.get("/users", headers=tenant.headers)).status_code == 200


async def test_the_list_goes_on_where_the_page_before_ended(api: Client, tenant: Tenant) -> None:
    for n in range(4):
        await api.post("/keys", headers=tenant.headers, json={"name": f"key {n}"})
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        params: dict[str, Any] = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await api.get("/keys", headers=tenant.headers, params=params)).json()
        seen += [key["name"] for key in page["items"]]
        cursor = page["next_cursor"]
    assert (seen, cursor) == (["first key", "key 0", "key 1", "key 2", "key 3"], None)
    problem(await api.get("/keys?cursor=x", headers=tenant.headers), 400, "validation")


async def test_a_key_that_was_kept_with_an_infinite_time_never_expires(
    api: Client, tenant: Tenant, owner: asyncpg.Connection, as_operator: dict[str, str]
) -> None:
    till = await key_with(api, tenant, "users:read", "keys:read")
    await owner.execute("UPDATE shared.access_tokens SET expires_at = 'infinity' WHERE kind = 'tenant'")
    assert (await api.get("/users", headers=till.headers)).status_code == 200
    assert [key["expires_at"] for key in await listed(api, till)] == [None, None]
    seen = (await api.get(f"/cc/tenants/{tenant.slug}", headers=as_operator)).json()
    assert [key["expires_at"] for key in seen["keys"]] == [None, None]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["everything"]},
        {"name": "x", "expires_at": "2020-01-01T00:00:00Z"},
        {"name": "x", "expires_at": "2099-01-01T00:00:00"},
        {"name": "x", "kind": "operator"},
    ],
)
async def test_malformed_keys_are_refused(api: Client, tenant: Tenant, body: dict[str, Any]) -> None:
    problem(await api.post("/keys", headers=tenant.headers, json=body), 400, "validation")


async def test_use_is_noted_without_a_write_for_each_request(
    api: Client, tenant: Tenant, owner: asyncpg.Connection
) -> None:
    till = await key_with(api, tenant, "users:read")
    key_id = till.key.split("_")[1]

    async def state() -> tuple[datetime | None, str]:
        row = await owner.fetchrow(
            "SELECT last_used_at, xmin::text FROM shared.access_tokens WHERE id = $1", key_id
        )
        assert row is not None
        return row["last_used_at"], row["xmin"]

    assert (await state())[0] is None
    assert (await api.get("/users", headers=till.headers)).status_code == 200
    first = await state()
    assert first[0] is not None
    for _ in range(10):
        await api.get("/users", headers=till.headers)
    assert await state() == first


async def test_later_uses_are_noted_together(config: Settings) -> None:
    async with serving(config) as api, provisioning(config):
        tenant = await sign_up(api, "bakery")
    owner = await asyncpg.connect(config.require("owner_database_url"))
    await owner.execute("UPDATE shared.access_tokens SET last_used_at = now() - interval '1 day'")
    async with serving(config) as api:  # a worker writes what it noted when it stops, at the latest
        assert (await api.get("/users", headers=tenant.headers)).status_code == 200
    last: datetime = await owner.fetchval("SELECT last_used_at FROM shared.access_tokens")
    await owner.close()
    assert datetime.now(UTC) - last < timedelta(minutes=1)


async def test_changes_are_audited_without_secrets(
    api: Client, tenant: Tenant, owner: asyncpg.Connection
) -> None:
    till = await key_with(api, tenant, "users:read")
    key_id = till.key.split("_")[1]
    await api.delete(f"/keys/{key_id}", headers=tenant.headers)
    rows = await owner.fetch(
        "SELECT action, detail FROM shared.audit_log WHERE action LIKE 'key.%' ORDER BY id"
    )
    assert [row["action"] for row in rows] == ["key.create", "key.revoke"]
    assert all(key_id in row["detail"] and till.key not in row["detail"] for row in rows)
