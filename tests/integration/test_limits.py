"""Noisy neighbours: what one token, one tenant and one request may take of a worker."""

import asyncio
import itertools
import time

import asyncpg
import httpx
from msgspec.structs import replace

from db.settings import Settings
from tests.messages import schema_of
from tests.people import ADMIN, log_in
from tests.support import Client, Service, Tenant, eventually, problem, provisioning, serving, sign_up


async def users(api: Client, tenant: Tenant) -> httpx.Response:
    return await api.get("/users", headers=tenant.headers)


async def two_tenants(config: Settings) -> tuple[Tenant, Tenant]:
    """Sign two tenants up before any limit is in force."""
    async with serving(config) as api, provisioning(config):
        return await sign_up(api, "bakery", admin=ADMIN), await sign_up(api, "florist")


async def test_a_token_has_so_many_requests_a_minute_and_its_neighbours_theirs(config: Settings) -> None:
    bakery, florist = await two_tenants(config)
    async with serving(replace(config, rate_limit_per_minute=5)) as api:
        ann = await log_in(api)
        assert [(await users(api, bakery)).status_code for _ in range(5)] == [200] * 5
        refused = await users(api, bakery)
        problem(refused, 429, "too-many-requests")
        assert int(refused.headers["retry-after"]) in range(1, 13)
        assert (await users(api, florist)).status_code == 200
        assert (await api.get("/users", headers=ann.headers)).status_code == 200


async def test_what_is_refused_for_other_reasons_counts_too(config: Settings) -> None:
    bakery, florist = await two_tenants(config)
    async with serving(replace(config, rate_limit_per_minute=2)) as api:
        for _ in range(2):
            foreign = {**bakery.headers, "tenant": florist.slug}
            problem(await api.get("/users", headers=foreign), 403, "tenant-forbidden")
        problem(await users(api, bakery), 429, "too-many-requests")


async def test_operators_are_not_slowed_down(config: Settings, operator_token: str) -> None:
    bakery, _ = await two_tenants(config)
    async with serving(replace(config, rate_limit_per_minute=1)) as api:
        bearer = {"authorization": f"Bearer {operator_token}"}
        for _ in range(5):
            assert (await api.get(f"/tenants/{bakery.slug}", headers=bearer)).status_code == 200


async def test_open_sign_ups_from_one_address_are_slowed_down(config: Settings) -> None:
    async with serving(replace(config, address_rate_limit_per_minute=2)) as api:
        for name in ("first", "second"):
            assert (await api.post("/tenants", json={"name": name})).status_code == 202
        problem(await api.post("/tenants", json={"name": "third"}), 429, "too-many-requests")


async def test_an_address_is_what_the_trusted_proxy_saw(config: Settings) -> None:
    numbers = itertools.count()

    async def sign(api: Client, seen: str) -> int:
        body = {"name": "Shop", "slug": f"shop-{next(numbers)}"}
        answer = await api.post("/tenants", json=body, headers={"x-forwarded-for": seen})
        return answer.status_code

    limited = replace(config, address_rate_limit_per_minute=1)
    async with serving(replace(limited, trusted_proxies=1)) as api:
        assert await sign(api, "192.0.2.1") == 202
        assert await sign(api, "192.0.2.2") == 202
        assert await sign(api, "203.0.113.9, 192.0.2.1") == 429  # the client's own word does not count
    async with serving(limited) as api:
        assert await sign(api, "192.0.2.1") == 202
        assert await sign(api, "192.0.2.2") == 429  # nobody's word counts


async def waiting(superuser: asyncpg.Connection) -> int:
    return int(
        await superuser.fetchval(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND usename = 'tenantry_app' AND wait_event_type = 'Lock'"
        )
    )


async def test_a_tenant_has_so_many_requests_at_once_and_its_neighbours_theirs(
    config: Settings, owner: asyncpg.Connection, superuser: asyncpg.Connection
) -> None:
    bakery, florist = await two_tenants(config)
    schema = await schema_of(owner, bakery.slug)
    async with serving(replace(config, concurrent_requests=2)) as api:
        assert (await users(api, bakery)).status_code == 200
        async with owner.transaction():
            await owner.execute(f"LOCK TABLE {schema}.users IN ACCESS EXCLUSIVE MODE")
            stuck = [asyncio.create_task(users(api, bakery)) for _ in range(2)]
            await eventually(lambda: two_waiting(superuser), within=2, what="two requests that wait")
            refused = await users(api, bakery)
            problem(refused, 429, "too-many-requests")
            assert int(refused.headers["retry-after"]) > 0
            assert (await users(api, florist)).status_code == 200
        assert [answer.status_code for answer in await asyncio.gather(*stuck)] == [200, 200]
        assert (await users(api, bakery)).status_code == 200


async def two_waiting(superuser: asyncpg.Connection) -> bool:
    return await waiting(superuser) == 2


async def test_a_request_past_its_deadline_is_undone_and_its_connection_is_gone(
    config: Settings, owner: asyncpg.Connection, superuser: asyncpg.Connection
) -> None:
    _, florist = await two_tenants(config)
    schema = await schema_of(owner, florist.slug)
    late = {"email": "late@example.com"}
    async with serving(replace(config, request_deadline=0.5)) as api:
        assert (await users(api, florist)).status_code == 200
        async with owner.transaction():
            await owner.execute(f"LOCK TABLE {schema}.users IN ACCESS EXCLUSIVE MODE")
            began = time.monotonic()
            answer = await api.post("/users", headers=florist.headers, json=late)
            problem(answer, 503, "deadline")
            assert int(answer.headers["retry-after"]) > 0
            assert time.monotonic() - began < 1.5  # well before the statement's own time-out
        await eventually(lambda: none_waiting(superuser), within=5, what="the statement's end")
        assert (await users(api, florist)).json()["items"] == []
        made = await api.post("/users", headers=florist.headers, json=late)
        assert made.status_code == 201


async def none_waiting(superuser: asyncpg.Connection) -> bool:
    return await waiting(superuser) == 0


async def test_requests_that_were_cut_off_no_longer_count(
    config: Settings, owner: asyncpg.Connection, provisioner: Service
) -> None:
    bakery, _ = await two_tenants(config)
    schema = await schema_of(owner, bakery.slug)
    async with serving(replace(config, request_deadline=0.3, concurrent_requests=1)) as api:
        for _ in range(3):
            async with owner.transaction():
                await owner.execute(f"LOCK TABLE {schema}.users IN ACCESS EXCLUSIVE MODE")
                problem(await users(api, bakery), 503, "deadline")
            assert (await users(api, bakery)).status_code == 200
