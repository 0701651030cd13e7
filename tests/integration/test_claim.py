"""The first key of a tenant that an event signed up: claimed once, with the secret behind its hash."""

import asyncio
import hashlib

import asyncpg
import httpx
import pytest
from msgspec.structs import replace

from db.settings import Settings
from tests.support import Client, Service, Tenant, becomes, kind_only, problem, requested, serving, signed_up

SECRET = "a secret of the flow's own, 5bYbqkRk"


@pytest.fixture
async def claimable(api: Client, app_login: asyncpg.Connection) -> str:
    """The slug of a tenant that was signed up with the hash of a secret."""
    async with app_login.transaction():
        made = await signed_up(
            app_login,
            "bakery",
            claim_hash=hashlib.sha256(SECRET.encode()).digest(),
        )
    assert made.key is None
    return made.tenant.slug


async def claim(api: Client, slug: str, secret: str = SECRET) -> httpx.Response:
    return await api.post(f"/tenants/{slug}/claim", json={"claim": secret})


async def test_the_secret_gets_the_first_key_which_may_everything(
    api: Client, claimable: str, provisioner: Service, owner: asyncpg.Connection
) -> None:
    assert await owner.fetchval("SELECT count(*) FROM shared.access_tokens") == 0
    answer = await claim(api, claimable)
    assert answer.status_code == 200
    assert set(answer.json()) == {"api_key"}
    tenant = Tenant("", claimable, answer.json()["api_key"])
    await becomes(api, tenant, "active")
    assert (await api.post("/roles", headers=tenant.headers, json={"role_name": "Baker"})).status_code == 201
    assert (await api.get("/keys", headers=tenant.headers)).status_code == 200
    entry = await owner.fetchrow("SELECT * FROM shared.audit_log WHERE action = 'tenant.claim'")
    assert entry is not None
    assert SECRET not in str(dict(entry))


async def test_every_refusal_looks_the_same(api: Client, claimable: str) -> None:
    keyed = await requested(api, "florist")
    wrong = await claim(api, claimable, "another secret")
    assert (await claim(api, claimable)).status_code == 200
    answers = [
        wrong,
        await claim(api, claimable),
        await claim(api, "nobody"),
        await claim(api, "a%00b"),
        await claim(api, keyed.slug, SECRET),
    ]
    for answer in answers:
        problem(answer, 403, "claim-refused")
    assert all(kind_only(answer) == kind_only(wrong) for answer in answers)


async def test_claimed_ten_times_at_once_it_is_given_once(
    api: Client, claimable: str, owner: asyncpg.Connection
) -> None:
    answers = await asyncio.gather(*(claim(api, claimable) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [403] * 9
    assert await owner.fetchval("SELECT count(*) FROM shared.access_tokens") == 1


async def test_a_deleted_tenants_key_cannot_be_claimed(
    api: Client, claimable: str, owner: asyncpg.Connection
) -> None:
    await owner.execute("UPDATE shared.tenants SET status = 'deleted', status_before = 'pending'")
    problem(await claim(api, claimable), 403, "claim-refused")
    await owner.execute("UPDATE shared.tenants SET status = 'pending', status_before = NULL")
    assert (await claim(api, claimable)).status_code == 200


async def test_claims_from_one_address_are_slowed_down(config: Settings, claimable: str) -> None:
    async with serving(replace(config, address_rate_limit_per_minute=2)) as api:
        for _ in range(2):
            problem(await claim(api, claimable, "another secret"), 403, "claim-refused")
        answer = await claim(api, claimable)
        problem(answer, 429, "too-many-requests")
        assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize("body", [{}, {"claim": ""}, {"claim": "x" * 1001}, {"claim": SECRET, "slug": "x"}])
async def test_malformed_claims_are_refused(api: Client, claimable: str, body: dict[str, str]) -> None:
    problem(await api.post(f"/tenants/{claimable}/claim", json=body), 400, "validation")
