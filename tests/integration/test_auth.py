"""Log-ins: who gets one, what it opens, and how it ends."""

import asyncio
import time
from statistics import median

import asyncpg
import httpx
import pytest
from msgspec.structs import replace

from db.settings import Settings
from db.tenants import tokens
from tests.people import ADMIN, EMAIL, PASSWORD, Person, hire, log_in, permission_id, role_id
from tests.support import (
    Client,
    Service,
    Tenant,
    eventually,
    kind_only,
    one,
    problem,
    provisioning,
    requested,
    serving,
    sign_up,
)


async def attempt(api: Client, email: str = EMAIL, password: str = PASSWORD) -> httpx.Response:
    return await api.post("/auth/login", json={"email": email, "password": password})


async def test_a_log_in_opens_the_users_tenant(api: Client, staffed: Tenant) -> None:
    answer = await attempt(api)
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"token", "tenant", "expires_at"}
    assert body["tenant"] == staffed.slug
    headers = {"tenant": body["tenant"], "authorization": f"Bearer {body['token']}"}
    made = await api.post("/users", headers=headers, json={"email": "bob@example.com"})
    assert made.status_code == 201
    users = (await api.get("/users", headers=staffed.headers)).json()["items"]
    assert [user["email"] for user in users] == [EMAIL, "bob@example.com"]


async def test_case_does_not_matter_in_an_e_mail(api: Client, staffed: Tenant) -> None:
    assert (await attempt(api, "ANN@Example.COM")).status_code == 200


async def test_every_way_to_fail_gets_the_same_answer(api: Client, staffed: Tenant) -> None:
    await hire(api, staffed, "idle@example.com", is_active=False)
    await hire(api, staffed, "mute@example.com", password=None)
    assert (await attempt(api)).status_code == 200
    answers = [
        await attempt(api, EMAIL, "wrong password"),
        await attempt(api, "nobody@example.com"),
        await attempt(api, "idle@example.com"),
        await attempt(api, "mute@example.com"),
        await attempt(api, "not an e-mail"),
    ]
    for answer in answers:
        problem(answer, 401, "invalid-credentials")
    assert all(kind_only(answer) == kind_only(answers[0]) for answer in answers)


@pytest.mark.usefixtures("slow_hashes")
async def test_an_unknown_e_mail_takes_as_long_as_a_wrong_password(api: Client, staffed: Tenant) -> None:
    async def seconds(email: str) -> float:
        began = time.perf_counter()
        problem(await attempt(api, email, "wrong password"), 401, "invalid-credentials")
        return time.perf_counter() - began

    await seconds("nobody@example.com")  # the dummy hash is made once
    unknown = median([await seconds("nobody@example.com") for _ in range(5)])
    wrong = median([await seconds(EMAIL) for _ in range(5)])
    assert wrong > 0.03, "this was no deployment's hash"
    assert 0.5 < unknown / wrong < 2, (unknown, wrong)


async def test_a_suspended_tenant_is_told_to_those_who_know_the_password(
    api: Client, staffed: Tenant, owner: asyncpg.Connection
) -> None:
    await owner.execute("UPDATE shared.tenants SET status = 'suspended'")
    problem(await attempt(api, EMAIL, "wrong password"), 401, "invalid-credentials")
    problem(await attempt(api), 403, "tenant-suspended")


async def test_a_tenant_in_the_making_is_told_to_those_who_know_the_password(api: Client) -> None:
    await requested(api, "bakery", admin=ADMIN)
    problem(await attempt(api, EMAIL, "wrong password"), 401, "invalid-credentials")
    answer = await attempt(api)
    problem(answer, 503, "tenant-not-ready")
    assert int(answer.headers["retry-after"]) > 0


async def test_a_deleted_tenants_users_are_unknown(
    api: Client, staffed: Tenant, owner: asyncpg.Connection
) -> None:
    await owner.execute("UPDATE shared.tenants SET status = 'deleted', status_before = 'active'")
    problem(await attempt(api), 401, "invalid-credentials")


async def test_me_tells_user_role_permissions_and_tenant(api: Client, ann: Person) -> None:
    answer = await api.get("/auth/me", headers=ann.bearer)
    assert answer.status_code == 200
    me = answer.json()
    assert (me["user"]["email"], me["role"], me["tenant"]) == (EMAIL, "ADMIN_MASTER", "bakery")
    assert "keys:write" in me["permissions"]
    assert "password" not in answer.text


async def test_log_ins_are_for_users_alone(
    api: Client, staffed: Tenant, ann: Person, operator_token: str
) -> None:
    assert (await api.get("/auth/me", headers=ann.headers)).status_code == 200
    problem(await api.get("/auth/me", headers=staffed.headers), 403, "forbidden")
    problem(
        await api.get("/auth/me", headers={"authorization": f"Bearer {operator_token}"}), 403, "forbidden"
    )
    problem(await api.get("/auth/me"), 401, "unauthenticated")


async def test_logging_out_ends_that_log_in_at_once_and_no_other(api: Client, ann: Person) -> None:
    elsewhere = await log_in(api)
    assert (await api.get("/auth/me", headers=ann.bearer)).status_code == 200
    assert (await api.post("/auth/logout", headers=ann.bearer)).status_code == 204
    problem(await api.get("/auth/me", headers=ann.bearer), 401, "unauthenticated")
    problem(await api.post("/auth/logout", headers=ann.bearer), 401, "unauthenticated")
    assert (await api.get("/auth/me", headers=elsewhere.bearer)).status_code == 200


async def test_logging_out_ends_the_log_in_on_every_worker(
    api: Client, ann: Person, config: Settings
) -> None:
    async with serving(config) as other:
        assert (await other.get("/auth/me", headers=ann.bearer)).status_code == 200
        await api.post("/auth/logout", headers=ann.bearer)

        async def ended() -> bool:
            return (await other.get("/auth/me", headers=ann.bearer)).status_code == 401

        await eventually(ended, within=2, what="the log-in's end on the other worker")


async def test_a_log_in_of_a_suspended_tenant_can_still_be_ended(
    api: Client, ann: Person, owner: asyncpg.Connection
) -> None:
    await owner.execute("UPDATE shared.tenants SET status = 'suspended'")

    async def suspended() -> bool:
        return (await api.get("/auth/me", headers=ann.bearer)).status_code == 403

    await eventually(suspended)
    assert (await api.post("/auth/logout", headers=ann.bearer)).status_code == 204


async def test_a_log_in_ends_by_itself(config: Settings) -> None:
    async with serving(replace(config, login_ttl=1.0)) as api, provisioning(config):
        await sign_up(api, "bakery", admin=ADMIN)
        ann = await log_in(api)
        assert (await api.get("/auth/me", headers=ann.bearer)).status_code == 200

        async def ended() -> bool:
            return (await api.get("/auth/me", headers=ann.bearer)).status_code == 401

        await eventually(ended, within=5, what="the log-in's end")


async def test_a_role_permits_what_it_does_at_that_moment(
    api: Client, staffed: Tenant, owner: asyncpg.Connection
) -> None:
    await hire(api, staffed, "bob@example.com")
    bob = await log_in(api, "bob@example.com")
    problem(await api.get("/users", headers=bob.headers), 403, "forbidden")
    link = (
        f"/roles/{await role_id(api, staffed, 'USER')}"
        f"/permissions/{await permission_id(api, staffed, 'users:read')}"
    )
    assert (await api.put(link, headers=staffed.headers)).status_code == 204
    assert (await api.get("/users", headers=bob.headers)).status_code == 200
    assert (await api.delete(link, headers=staffed.headers)).status_code == 204
    problem(await api.get("/users", headers=bob.headers), 403, "forbidden")


async def test_a_deactivated_users_token_opens_nothing_even_where_it_was_not_revoked(
    api: Client, ann: Person, owner: asyncpg.Connection
) -> None:
    assert (await api.get("/users", headers=ann.headers)).status_code == 200
    schema = await owner.fetchval("SELECT schema_name FROM shared.tenants")
    await owner.execute(f"UPDATE {schema}.users SET is_active = false")
    problem(await api.get("/users", headers=ann.headers), 401, "unauthenticated")


async def test_a_password_change_ends_log_ins_that_are_being_made_meanwhile(
    api: Client, staffed: Tenant
) -> None:
    user = await hire(api, staffed, "bob@example.com")
    answers, changed = await asyncio.gather(
        asyncio.gather(*(attempt(api, "bob@example.com") for _ in range(8))),
        api.patch(f"/users/{user}", headers=staffed.headers, json={"password": "another password"}),
    )
    assert changed.status_code == 200
    assert {answer.status_code for answer in answers} <= {200, 401}
    for answer in answers:
        if answer.status_code == 200:
            bearer = {"authorization": f"Bearer {answer.json()['token']}"}
            problem(await api.get("/auth/me", headers=bearer), 401, "unauthenticated")
    assert (await attempt(api, "bob@example.com", "another password")).status_code == 200


async def test_the_audit_log_tells_of_log_ins_failures_and_log_outs(
    api: Client, ann: Person, owner: asyncpg.Connection
) -> None:
    await attempt(api, EMAIL, "wrong password")
    await api.post("/auth/logout", headers=ann.bearer)
    rows = await owner.fetch(
        "SELECT action, outcome, tenant_id, actor FROM shared.audit_log WHERE action LIKE 'auth.%' ORDER BY id"
    )
    assert [(row["action"], row["outcome"]) for row in rows] == [
        ("auth.login", "ok"),
        ("auth.login", "invalid-credentials"),
        ("auth.logout", "ok"),
    ]
    assert all(row["tenant_id"] for row in rows)
    assert rows[0]["actor"] == rows[2]["actor"]
    everything = await owner.fetch("SELECT l::text FROM shared.audit_log l")
    assert not any(PASSWORD in row["l"] or ann.token in row["l"] for row in everything)


async def test_nothing_of_a_token_but_its_hash_is_stored(ann: Person, owner: asyncpg.Connection) -> None:
    row = await one(owner, "SELECT t::text AS text FROM shared.access_tokens t WHERE kind = 'user'")
    secret = ann.token.split("_")[2]
    assert ann.token.split("_")[1] in row["text"]
    assert secret not in row["text"]


async def test_guessing_at_one_account_is_slowed_down(config: Settings, provisioner: Service) -> None:
    async with serving(replace(config, login_rate_limit_per_minute=3)) as api:
        tenant = await sign_up(api, "bakery", admin=ADMIN)
        await hire(api, tenant, "bob@example.com")
        for _ in range(5):
            assert (await attempt(api)).status_code == 200  # a log-in with the right password is not counted
        for _ in range(3):
            problem(await attempt(api, EMAIL, "wrong password"), 401, "invalid-credentials")
        refused = await attempt(api)
        problem(refused, 429, "too-many-requests")
        assert int(refused.headers["retry-after"]) in range(1, 61)
        problem(await attempt(api, "ANN@example.com"), 429, "too-many-requests")
        assert (await attempt(api, "bob@example.com")).status_code == 200


@pytest.mark.parametrize("known", [True, False])
async def test_guessing_from_one_address_is_slowed_down(
    config: Settings, provisioner: Service, known: bool
) -> None:
    async with serving(config) as free:
        await sign_up(free, "bakery", admin=ADMIN)
    async with serving(replace(config, address_rate_limit_per_minute=2)) as api:
        for guess in range(2):
            problem(await attempt(api, f"guess{guess}@example.com"), 401, "invalid-credentials")
        problem(await attempt(api, EMAIL if known else "x@example.com"), 429, "too-many-requests")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": EMAIL},
        {"email": EMAIL, "password": PASSWORD, "tenant": "bakery"},
        {"email": "a\0@b.c"},
        [],
    ],
)
async def test_malformed_log_ins_are_refused(api: Client, body: object) -> None:
    problem(await api.post("/auth/login", json=body), 400, "validation")


async def test_log_ins_that_ended_long_ago_are_swept_away_and_nothing_else(
    api: Client, ann: Person, owner: asyncpg.Connection
) -> None:
    await log_in(api)
    old = ann.token.split("_")[1]
    await owner.execute(
        "UPDATE shared.access_tokens SET expires_at = now() - interval '31 days' WHERE id = $1", old
    )
    await owner.execute(
        "UPDATE shared.access_tokens SET expires_at = now() - interval '31 days' WHERE kind = 'tenant'"
    )
    assert await tokens.sweep(owner, days=30) == 1
    left = await owner.fetch("SELECT id, kind FROM shared.access_tokens")
    assert sorted(row["kind"] for row in left) == ["tenant", "user"]
    assert old not in [row["id"] for row in left]
