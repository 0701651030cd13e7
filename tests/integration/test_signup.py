"""Sign-up, from the request to a tenant that answers."""

import asyncio

import asyncpg
import pytest
from msgspec.structs import replace

from db.migrations.lineages import lineage
from db.settings import Settings
from tests.support import (
    Client,
    Service,
    Tenant,
    becomes,
    one,
    problem,
    provisioning,
    requested,
    serving,
    sign_up,
)


async def test_a_signed_up_tenant_becomes_active_and_serves_its_users(delivery: Settings) -> None:
    async with serving(delivery) as api, provisioning(delivery):
        tenant = await sign_up(api, "bakery")
        made = await api.post("/users", headers=tenant.headers, json={"email": "ann@example.com"})
        listed = await api.get("/users", headers=tenant.headers)
    assert made.status_code == 201
    assert [user["email"] for user in listed.json()["items"]] == ["ann@example.com"]


async def test_the_answer_tells_where_to_look_and_shows_the_key_once(api: Client) -> None:
    answer = await api.post("/tenants", json={"name": "Joe's Bakery"})
    assert answer.status_code == 202
    body = answer.json()
    assert set(body) == {"id", "slug", "status", "api_key"}
    assert (body["slug"], body["status"]) == ("joe-s-bakery", "pending")
    assert answer.headers["location"] == "/tenants/joe-s-bakery"
    assert body["api_key"].startswith("tnt_")


async def test_a_tenants_schema_has_its_own_version_at_head(
    config: Settings, tenant: Tenant, owner: asyncpg.Connection
) -> None:
    row = await one(owner, "SELECT schema_name, revision FROM shared.tenants WHERE slug = $1", tenant.slug)
    version = await owner.fetchval(f"SELECT version_num FROM {row['schema_name']}.alembic_version")
    assert version == row["revision"] == lineage("tenant", config.alembic_config).head


async def test_the_timeline_tells_the_steps(api: Client, tenant: Tenant) -> None:
    answer = await api.get(f"/tenants/{tenant.slug}", headers=tenant.bearer)
    steps = [(step["type"], step["kind"]) for step in answer.json()["timeline"]]
    assert steps == [
        ("tenant.requested", "event"),
        ("tenant.provision", "command"),
        ("tenant.provisioned", "event"),
    ]


async def test_one_tenants_users_are_invisible_to_another(
    api: Client, tenant: Tenant, provisioner: Service
) -> None:
    other = await sign_up(api, "florist")
    made = await api.post("/users", headers=tenant.headers, json={"email": "secret@example.com"})
    user_id = made.json()["id"]
    assert (await api.get("/users", headers=other.headers)).json()["items"] == []
    problem(await api.get(f"/users/{user_id}", headers=other.headers), 404, "not-found")
    assert (await api.get(f"/users/{user_id}", headers=tenant.headers)).status_code == 200


async def test_twenty_signups_at_once_become_twenty_active_tenants(delivery: Settings) -> None:
    async with serving(delivery) as api, provisioning(delivery):
        tenants = await asyncio.gather(*(requested(api, f"shop{n}") for n in range(20)))
        await asyncio.gather(*(becomes(api, tenant, "active", within=40) for tenant in tenants))


async def test_the_same_slug_twenty_times_at_once_is_given_away_once(api: Client) -> None:
    answers = await asyncio.gather(
        *(api.post("/tenants", json={"name": "Bakery", "slug": "bakery"}) for _ in range(20))
    )
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 19
    for answer in answers:
        if answer.status_code == 409:
            problem(answer, 409, "slug-taken")


async def test_a_taken_host_or_email_is_refused_and_nothing_is_left_of_the_signup(
    api: Client, owner: asyncpg.Connection
) -> None:
    admin = {"email": "ann@example.com", "password": "correct horse"}
    await requested(api, "first", host="shop.example.com", admin=admin)
    by_host = await api.post("/tenants", json={"name": "B", "slug": "second", "host": "SHOP.example.com"})
    by_email = await api.post(
        "/tenants", json={"name": "C", "slug": "third", "admin": {**admin, "email": "Ann@Example.com"}}
    )
    problem(by_host, 409, "host-taken")
    problem(by_email, 409, "email-taken")
    assert await owner.fetchval("SELECT count(*) FROM shared.tenants") == 1


async def test_the_administrator_becomes_a_user_and_the_waiting_hash_is_gone(
    api: Client, provisioner: Service, owner: asyncpg.Connection
) -> None:
    await sign_up(api, "bakery", admin={"email": "Ann@example.com", "password": "correct horse"})
    schema = await owner.fetchval("SELECT schema_name FROM shared.tenants")
    row = await one(
        owner,
        f"SELECT u.email, u.password_hash, r.role_name FROM {schema}.users u"
        f" JOIN {schema}.roles r ON r.id = u.user_role_id",
    )
    assert (row["email"], row["role_name"]) == ("ann@example.com", "ADMIN_MASTER")
    assert row["password_hash"].startswith("$argon2id$")
    assert await owner.fetchval("SELECT count(*) FROM shared.pending_admins") == 0
    assert await owner.fetchval("SELECT is_active FROM shared.shared_users") is True


@pytest.mark.parametrize(
    "slug",
    ["public", "shared", "pg_x", "tenantry-1", "select", "1abc", "a b", "a-", "-a", "x" * 64, "ä", "a\x00b"],
)
async def test_reserved_and_malformed_slugs_are_refused(api: Client, slug: str) -> None:
    answer = await api.post("/tenants", json={"name": "Bakery", "slug": slug})
    body = problem(answer, 400, "validation")
    assert body["errors"][0]["field"] == "slug"


@pytest.mark.parametrize(
    "host", ["localhost:80", "*.example.com", "10.0.0.1", "a@b.com", "x" * 64 + ".com", "a..b", "[::1]"]
)
async def test_hosts_that_are_no_names_are_refused(api: Client, host: str) -> None:
    answer = await api.post("/tenants", json={"name": "Bakery", "slug": "bakery", "host": host})
    body = problem(answer, 400, "validation")
    assert body["errors"][0]["field"] == "host"


async def test_unknown_fields_are_refused(api: Client) -> None:
    problem(await api.post("/tenants", json={"name": "Bakery", "plan": "gold"}), 400, "validation")


async def test_signup_asks_for_an_operator_where_it_is_not_open(
    config: Settings, operator_token: str
) -> None:
    body = {"name": "Bakery", "slug": "bakery"}
    bearer = {"authorization": f"Bearer {operator_token}"}
    async with serving(replace(config, signup="operator")) as api:
        problem(await api.post("/tenants", json=body), 401, "unauthenticated")
        assert (await api.post("/tenants", json=body, headers=bearer)).status_code == 202
    async with serving(replace(config, signup="closed")) as api:
        problem(await api.post("/tenants", json=body, headers=bearer), 403, "signup-closed")
