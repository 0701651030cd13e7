"""A sign-up under an ``Idempotency-Key``: sent again, it is answered and not done again."""

import asyncio
import secrets
from typing import Any

import asyncpg
import httpx
import pytest

from tests.people import ADMIN, PASSWORD
from tests.support import Client, Service, Tenant, becomes, problem

BODY = {"name": "Bakery", "slug": "bakery", "host": "shop.example.com", "admin": ADMIN}


async def send(api: Client, key: str, body: dict[str, Any] | None = None) -> httpx.Response:
    return await api.post("/tenants", json=body or BODY, headers={"idempotency-key": key})


@pytest.fixture
def key() -> str:
    return secrets.token_urlsafe(24)


async def test_the_same_request_is_done_once_and_answered_twice(
    api: Client, key: str, owner: asyncpg.Connection
) -> None:
    first, second = await send(api, key), await send(api, key)
    assert (first.status_code, second.status_code) == (202, 202)
    for name in ("id", "slug", "status"):
        assert first.json()[name] == second.json()[name]
    assert first.headers["location"] == second.headers["location"]
    assert await owner.fetchval("SELECT count(*) FROM shared.tenants") == 1
    assert await owner.fetchval("SELECT count(*) FROM shared.messages") == 2


async def test_a_lost_answers_key_is_replaced_while_nobody_has_used_it(
    api: Client, key: str, provisioner: Service
) -> None:
    lost, kept = (await send(api, key)).json(), (await send(api, key)).json()
    assert lost["api_key"] != kept["api_key"]
    tenant = Tenant(kept["id"], kept["slug"], kept["api_key"])
    await becomes(api, tenant, "active")
    assert (await api.get("/users", headers=tenant.headers)).status_code == 200
    gone = Tenant(lost["id"], lost["slug"], lost["api_key"])
    problem(await api.get("/users", headers=gone.headers), 401, "unauthenticated")


async def test_a_used_key_is_neither_replaced_nor_shown(
    api: Client, key: str, owner: asyncpg.Connection
) -> None:
    made = (await send(api, key)).json()
    tenant = Tenant(made["id"], made["slug"], made["api_key"])
    assert (await api.get("/tenants/bakery", headers=tenant.bearer)).status_code == 200
    again = await send(api, key)
    assert again.status_code == 202
    assert again.json() == {**made, "api_key": None}
    assert (await api.get("/tenants/bakery", headers=tenant.bearer)).status_code == 200
    assert await owner.fetchval("SELECT count(*) FROM shared.access_tokens") == 1


async def test_another_body_is_refused(api: Client, key: str) -> None:
    assert (await send(api, key)).status_code == 202
    for other in (
        {**BODY, "slug": "florist"},
        {**BODY, "admin": {**ADMIN, "password": "another password"}},
        {"name": "Bakery"},
    ):
        problem(await send(api, key, other), 422, "idempotency-mismatch")
    assert (await send(api, key)).status_code == 202


async def test_the_order_of_fields_is_no_other_body(api: Client, key: str) -> None:
    first = await send(api, key)
    second = await send(api, key, dict(reversed(BODY.items())))
    assert first.json()["id"] == second.json()["id"]


async def test_sent_ten_times_at_once_it_is_one_tenant(
    api: Client, key: str, owner: asyncpg.Connection
) -> None:
    answers = await asyncio.gather(*(send(api, key) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await owner.fetchval("SELECT count(*) FROM shared.tenants") == 1
    live = await owner.fetchval("SELECT count(*) FROM shared.access_tokens WHERE revoked_at IS NULL")
    assert live == 1


async def test_another_key_is_another_request(api: Client, key: str) -> None:
    assert (await send(api, key)).status_code == 202
    problem(await send(api, secrets.token_urlsafe(24)), 409, "slug-taken")


async def test_a_refusal_is_not_remembered(api: Client, key: str, owner: asyncpg.Connection) -> None:
    first = await send(api, secrets.token_urlsafe(24))
    assert first.status_code == 202
    problem(await send(api, key, {"name": "B", "slug": "bakery"}), 409, "slug-taken")
    await owner.execute("UPDATE shared.tenants SET status = 'purged'")
    assert (await send(api, key, {"name": "B", "slug": "bakery"})).status_code == 202


@pytest.mark.parametrize("bad", ["x" * 21, "x" * 256, ""])
async def test_keys_that_are_too_short_or_too_long_are_refused(api: Client, bad: str) -> None:
    problem(await send(api, bad), 400, "validation")
    assert (await send(api, "x" * 22)).status_code == 202


async def test_what_is_stored_gives_neither_key_nor_body_away(
    api: Client, key: str, owner: asyncpg.Connection
) -> None:
    import hashlib

    import msgspec

    await send(api, key)
    row = await owner.fetchrow("SELECT key_hash, body_hash FROM shared.idempotency_keys")
    assert row is not None
    assert row["key_hash"] == hashlib.sha256(key.encode()).digest()
    # Without the key, nobody can try passwords against the row: it holds no plain digest of the body.
    for body in (BODY, {"admin": ADMIN, "host": BODY["host"], "name": BODY["name"], "slug": BODY["slug"]}):
        assert row["body_hash"] != hashlib.sha256(msgspec.json.encode(body)).digest()
    assert PASSWORD.encode() not in row["body_hash"]
