"""Users: how they are made, changed and deleted, what the registry notes of it, and who may do what to whom."""

import asyncio
from typing import Any

import asyncpg
import pytest

from tests.people import ADMIN, EMAIL, PASSWORD, Person, hire, key_with, log_in, role_id
from tests.support import Client, Service, Tenant, one, problem, sign_up


async def test_a_user_is_made_read_changed_listed_and_deleted(api: Client, tenant: Tenant) -> None:
    made = await api.post(
        "/users",
        headers=tenant.headers,
        json={"email": "Bob@Example.com", "password": PASSWORD, "first_name": "Bob"},
    )
    assert made.status_code == 201
    bob = made.json()
    assert (bob["email"], bob["first_name"], bob["is_active"]) == ("bob@example.com", "Bob", True)
    assert bob["user_role_id"] == await role_id(api, tenant, "USER")
    address = f"/users/{bob['id']}"
    assert (await api.get(address, headers=tenant.headers)).json() == bob
    changed = await api.patch(address, headers=tenant.headers, json={"last_name": "Baker"})
    assert (changed.status_code, changed.json()["last_name"]) == (200, "Baker")
    assert (await api.get("/users", headers=tenant.headers)).json()["items"] == [changed.json()]
    assert (await api.delete(address, headers=tenant.headers)).status_code == 204
    problem(await api.get(address, headers=tenant.headers), 404, "not-found")
    problem(await api.delete(address, headers=tenant.headers), 404, "not-found")


async def test_a_password_is_never_shown(api: Client, tenant: Tenant, owner: asyncpg.Connection) -> None:
    user = await hire(api, tenant, "bob@example.com")
    answers = [
        await api.get(f"/users/{user}", headers=tenant.headers),
        await api.get("/users", headers=tenant.headers),
        await api.patch(f"/users/{user}", headers=tenant.headers, json={"password": "another password"}),
    ]
    for answer in answers:
        assert answer.status_code == 200
        assert "password" not in answer.text
        assert "argon2" not in answer.text


async def test_lists_go_on_where_the_page_before_ended(api: Client, tenant: Tenant) -> None:
    ids = [await hire(api, tenant, f"user{n}@example.com", password=None) for n in range(5)]
    seen: list[int] = []
    cursor: str | None = None
    for _ in range(3):
        params: dict[str, Any] = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await api.get("/users", headers=tenant.headers, params=params)).json()
        seen += [user["id"] for user in page["items"]]
        cursor = page["next_cursor"]
    assert (seen, cursor) == (ids, None)


async def test_cursors_of_other_lists_are_refused(api: Client, tenant: Tenant) -> None:
    page = await api.get("/permissions", headers=tenant.headers, params={"limit": 1})
    cursor = page.json()["next_cursor"]
    assert (await api.get(f"/permissions?cursor={cursor}", headers=tenant.headers)).status_code == 200
    for wrong in (cursor, "x", "WyJ1c2VycyIsLTFd", "WyJ1c2VycyIsOTk5OTk5OTk5OTld"):
        answer = await api.get("/users", headers=tenant.headers, params={"cursor": wrong})
        problem(answer, 400, "validation")


async def test_an_e_mail_is_one_person_in_one_tenant(
    api: Client, tenant: Tenant, provisioner: Service
) -> None:
    other = await sign_up(api, "florist")
    await hire(api, other, "bob@example.com")
    mine = await hire(api, tenant, "ann@example.com")
    answers = [
        await api.post("/users", headers=tenant.headers, json={"email": "BOB@example.com"}),
        await api.post("/users", headers=tenant.headers, json={"email": "ann@example.com"}),
        await api.patch(f"/users/{mine}", headers=tenant.headers, json={"email": "bob@example.com"}),
        await api.post("/tenants", json={"name": "C", "admin": {**ADMIN, "email": "bob@example.com"}}),
    ]
    details = {problem(answer, 409, "email-taken")["detail"] for answer in answers}
    assert len(details) == 1
    assert len((await api.get("/users", headers=tenant.headers)).json()["items"]) == 1


async def test_the_same_e_mail_in_ten_tenants_at_once_goes_to_one(
    api: Client, tenant: Tenant, provisioner: Service
) -> None:
    other = await sign_up(api, "florist")
    answers = await asyncio.gather(
        *(
            api.post("/users", headers=who.headers, json={"email": "bob@example.com"})
            for who in (tenant, other) * 5
        )
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9


async def test_shared_users_follow(api: Client, tenant: Tenant, owner: asyncpg.Connection) -> None:
    user = await hire(api, tenant, "bob@example.com")

    async def known() -> list[tuple[str, bool]]:
        rows = await owner.fetch("SELECT email, is_active FROM shared.shared_users")
        return [(row["email"], row["is_active"]) for row in rows]

    assert await known() == [("bob@example.com", True)]
    await api.patch(f"/users/{user}", headers=tenant.headers, json={"is_active": False})
    assert await known() == [("bob@example.com", False)]
    await api.patch(f"/users/{user}", headers=tenant.headers, json={"email": "Rob@example.com"})
    assert await known() == [("rob@example.com", False)]
    await api.delete(f"/users/{user}", headers=tenant.headers)
    assert await known() == []


async def test_a_changed_e_mail_logs_in_and_the_old_one_is_free(
    api: Client, staffed: Tenant, ann: Person
) -> None:
    me = (await api.get("/auth/me", headers=ann.bearer)).json()["user"]["id"]
    changed = await api.patch(f"/users/{me}", headers=ann.headers, json={"email": "anna@example.com"})
    assert changed.status_code == 200
    await log_in(api, "anna@example.com")
    await hire(api, staffed, EMAIL)
    await log_in(api, EMAIL)


@pytest.mark.parametrize("change", [{"password": "another password"}, {"is_active": False}, None])
async def test_log_ins_end_with_password_activity_and_user(
    api: Client, tenant: Tenant, change: dict[str, Any] | None
) -> None:
    user = await hire(api, tenant, "bob@example.com", "ADMIN")
    bob = await log_in(api, "bob@example.com")
    address = f"/users/{user}"
    untouched = await api.patch(address, headers=tenant.headers, json={"first_name": "Bob"})
    assert untouched.status_code == 200
    assert (await api.get("/users", headers=bob.headers)).status_code == 200
    if change is None:
        assert (await api.delete(address, headers=tenant.headers)).status_code == 204
    else:
        assert (await api.patch(address, headers=tenant.headers, json=change)).status_code == 200
    problem(await api.get("/users", headers=bob.headers), 401, "unauthenticated")


async def test_a_log_in_that_ended_stays_ended_when_the_user_is_active_again(
    api: Client, tenant: Tenant
) -> None:
    user = await hire(api, tenant, "bob@example.com", "ADMIN")
    bob = await log_in(api, "bob@example.com")
    for active in (False, True):
        await api.patch(f"/users/{user}", headers=tenant.headers, json={"is_active": active})
    problem(await api.get("/users", headers=bob.headers), 401, "unauthenticated")
    assert (
        await api.get("/users", headers=(await log_in(api, "bob@example.com")).headers)
    ).status_code == 200


async def test_the_last_administrator_stays(api: Client, staffed: Tenant, ann: Person) -> None:
    me = (await api.get("/auth/me", headers=ann.bearer)).json()["user"]["id"]
    address, user_role = f"/users/{me}", await role_id(api, staffed, "USER")
    away: list[dict[str, Any]] = [{"is_active": False}, {"user_role_id": user_role}]
    for who in (staffed, ann):
        for change in away:
            problem(await api.patch(address, headers=who.headers, json=change), 409, "last-administrator")
        problem(await api.delete(address, headers=who.headers), 409, "last-administrator")
    renamed = await api.patch(address, headers=ann.headers, json={"first_name": "Anna", "is_active": True})
    assert renamed.status_code == 200
    await hire(api, staffed, "idle@example.com", "ADMIN_MASTER", is_active=False)
    problem(await api.delete(address, headers=staffed.headers), 409, "last-administrator")
    await hire(api, staffed, "eve@example.com", "ADMIN_MASTER")
    assert (await api.delete(address, headers=staffed.headers)).status_code == 204


async def test_an_administrator_who_cannot_log_in_does_not_stand_in_for_one_who_can(
    api: Client, staffed: Tenant, ann: Person
) -> None:
    me = (await api.get("/auth/me", headers=ann.bearer)).json()["user"]["id"]
    eve = await hire(api, staffed, "eve@example.com", "ADMIN_MASTER", password=None)
    user_role = await role_id(api, staffed, "USER")
    for change in ({"is_active": False}, {"user_role_id": user_role}):
        answer = await api.patch(f"/users/{me}", headers=ann.headers, json=change)
        problem(answer, 409, "last-administrator")
    problem(await api.delete(f"/users/{me}", headers=staffed.headers), 409, "last-administrator")
    assert (await api.delete(f"/users/{eve}", headers=staffed.headers)).status_code == 204
    eve = await hire(api, staffed, "eve@example.com", "ADMIN_MASTER", password=None)
    given = await api.patch(f"/users/{eve}", headers=ann.headers, json={"password": PASSWORD})
    assert given.status_code == 200
    assert (await api.delete(f"/users/{me}", headers=staffed.headers)).status_code == 204


async def test_of_two_administrators_who_remove_each_other_at_once_one_stays(
    api: Client, staffed: Tenant, owner: asyncpg.Connection
) -> None:
    schema = await owner.fetchval("SELECT schema_name FROM shared.tenants")
    ann = await owner.fetchval(f"SELECT id FROM {schema}.users")
    for n in range(5):
        eve = await hire(api, staffed, f"eve{n}@example.com", "ADMIN_MASTER")
        answers = await asyncio.gather(
            api.patch(f"/users/{ann}", headers=staffed.headers, json={"is_active": False}),
            api.delete(f"/users/{eve}", headers=staffed.headers),
        )
        assert sorted(answer.status_code for answer in answers)[1] == 409
        active = await owner.fetchval(f"SELECT count(*) FROM {schema}.users WHERE is_active")
        assert active == 1
        await api.patch(f"/users/{ann}", headers=staffed.headers, json={"is_active": True})
        await owner.execute(f"DELETE FROM {schema}.users WHERE id <> $1", ann)


async def test_an_admin_makes_users_but_no_administrators(api: Client, staffed: Tenant) -> None:
    await hire(api, staffed, "bob@example.com", "ADMIN")
    bob = await log_in(api, "bob@example.com")
    master, user = await role_id(api, bob, "ADMIN_MASTER"), await role_id(api, bob, "USER")
    me = (await api.get("/auth/me", headers=bob.bearer)).json()["user"]["id"]
    ann = next(
        found["id"]
        for found in (await api.get("/users", headers=bob.headers)).json()["items"]
        if found["email"] == EMAIL
    )
    made = await api.post(
        "/users", headers=bob.headers, json={"email": "carl@example.com", "user_role_id": user}
    )
    assert made.status_code == 201
    carl = made.json()["id"]
    refused = [
        await api.post(
            "/users", headers=bob.headers, json={"email": "dan@example.com", "user_role_id": master}
        ),
        await api.patch(f"/users/{me}", headers=bob.headers, json={"user_role_id": master}),
        await api.patch(f"/users/{carl}", headers=bob.headers, json={"user_role_id": master}),
        await api.patch(f"/users/{ann}", headers=bob.headers, json={"password": "bobs password"}),
        await api.patch(f"/users/{ann}", headers=bob.headers, json={"email": "evil@example.com"}),
        await api.delete(f"/users/{ann}", headers=bob.headers),
    ]
    for answer in refused:
        problem(answer, 403, "forbidden")
    assert (await api.delete(f"/users/{carl}", headers=bob.headers)).status_code == 204


async def test_a_narrow_key_gives_no_role_that_is_wider(api: Client, staffed: Tenant) -> None:
    narrow = await key_with(api, staffed, "users:read", "users:write", "roles:read")
    role = await api.post("/roles", headers=staffed.headers, json={"role_name": "Guest"})
    guest = {"email": "guest@example.com", "user_role_id": role.json()["id"]}
    assert (await api.post("/users", headers=narrow.headers, json=guest)).status_code == 201
    for name in ("ADMIN", "ADMIN_MASTER"):
        body = {"email": "x@example.com", "user_role_id": await role_id(api, narrow, name)}
        problem(await api.post("/users", headers=narrow.headers, json=body), 403, "forbidden")


async def test_reading_and_writing_are_permitted_apart(api: Client, staffed: Tenant) -> None:
    reader = await key_with(api, staffed, "users:read")
    writer = await key_with(api, staffed, "users:write")
    role = await api.post("/roles", headers=staffed.headers, json={"role_name": "Guest"})
    body = {"email": "bob@example.com", "user_role_id": role.json()["id"]}
    assert (await api.get("/users", headers=reader.headers)).status_code == 200
    problem(await api.post("/users", headers=reader.headers, json=body), 403, "forbidden")
    problem(await api.get("/users", headers=writer.headers), 403, "forbidden")
    assert (await api.post("/users", headers=writer.headers, json=body)).status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": "bob"},
        {"email": "bob@example.com", "password": "short"},
        {"email": "bob@example.com", "user_role_id": 999},
        {"email": "bob@example.com", "user_role_id": 2**31},
        {"email": "bob@example.com", "first_name": "a\0b"},
        {"email": "bob@example.com", "password_hash": "x"},
        {"email": "b" * 250 + "@example.com"},
    ],
)
async def test_malformed_users_are_refused(api: Client, tenant: Tenant, body: dict[str, Any]) -> None:
    problem(await api.post("/users", headers=tenant.headers, json=body), 400, "validation")


async def test_changes_are_audited_with_their_actor_and_without_their_values(
    api: Client, tenant: Tenant, owner: asyncpg.Connection
) -> None:
    user = await hire(api, tenant, "bob@example.com")
    answer = await api.patch(
        f"/users/{user}", headers=tenant.headers, json={"password": "another password", "first_name": "Bob"}
    )
    await api.delete(f"/users/{user}", headers=tenant.headers)
    rows = await owner.fetch("SELECT * FROM shared.audit_log WHERE action LIKE 'user.%' ORDER BY id")
    assert [row["action"] for row in rows] == ["user.create", "user.change", "user.delete"]
    assert {row["actor"] for row in rows} == {tenant.key.split("_")[1]}
    assert rows[1]["request_id"] == answer.headers["x-request-id"]
    assert '["first_name", "password"]' in rows[1]["detail"]
    assert not any("another password" in str(dict(row)) for row in rows)


async def test_a_refused_change_leaves_nothing(
    api: Client, staffed: Tenant, ann: Person, owner: asyncpg.Connection
) -> None:
    me = (await api.get("/auth/me", headers=ann.bearer)).json()["user"]["id"]
    before = await one(owner, "SELECT count(*) AS entries FROM shared.audit_log")
    answer = await api.patch(
        f"/users/{me}", headers=ann.headers, json={"first_name": "X", "is_active": False}
    )
    problem(answer, 409, "last-administrator")
    user = (await api.get("/auth/me", headers=ann.bearer)).json()["user"]
    assert (user["first_name"], user["is_active"]) == ("Ann", True)
    assert await one(owner, "SELECT count(*) AS entries FROM shared.audit_log") == before
