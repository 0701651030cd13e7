"""Roles and permissions: how they are made, changed and deleted, and that nobody grants what they do not have."""

from typing import Any, get_args

import asyncpg
import msgspec
import pytest

from db.models.access import PermissionName
from db.tenants.permissions import ALL
from tests.factories import RoleFactory
from tests.people import hire, key_with, log_in, permission_id, role_id
from tests.support import Client, Service, Tenant, problem, sign_up

HOUSE = frozenset(get_args(PermissionName))


async def make_role(api: Client, tenant: Tenant, name: str) -> int:
    answer = await api.post("/roles", headers=tenant.headers, json={"role_name": name})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


async def make_permission(api: Client, tenant: Tenant, name: str) -> int:
    answer = await api.post("/permissions", headers=tenant.headers, json={"name": name, "title": name})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


async def test_every_tenant_starts_with_three_roles(api: Client, tenant: Tenant) -> None:
    roles = (await api.get("/roles", headers=tenant.headers)).json()["items"]
    assert [role["role_name"] for role in roles] == ["ADMIN_MASTER", "ADMIN", "USER"]
    assert sorted(roles[0]["permissions"]) == sorted(ALL)
    assert HOUSE.intersection(roles[1]["permissions"]) == {
        "users:read",
        "users:write",
        "roles:read",
        "permissions:read",
    }
    assert not HOUSE.intersection(roles[2]["permissions"])  # the application's alone


async def test_a_role_is_made_read_changed_listed_and_deleted(api: Client, tenant: Tenant) -> None:
    made = await api.post(
        "/roles", headers=tenant.headers, json={"role_name": "Guest", "role_description": "Looks"}
    )
    assert made.status_code == 201
    role = made.json()
    assert role == {
        "id": role["id"],
        "role_name": "Guest",
        "role_description": "Looks",
        "permissions": [],
    }
    address = f"/roles/{role['id']}"
    changed = await api.patch(address, headers=tenant.headers, json={"role_name": "Visitor"})
    assert (changed.status_code, changed.json()["role_name"]) == (200, "Visitor")
    assert (await api.get(address, headers=tenant.headers)).json() == changed.json()
    assert (await api.get("/roles", headers=tenant.headers)).json()["items"][-1] == changed.json()
    assert (await api.delete(address, headers=tenant.headers)).status_code == 204
    problem(await api.get(address, headers=tenant.headers), 404, "not-found")
    problem(await api.delete(address, headers=tenant.headers), 404, "not-found")


async def test_whatever_the_factory_makes_is_given_back_as_it_was(api: Client, tenant: Tenant) -> None:
    for role in RoleFactory.batch(10):
        made = await api.post("/roles", headers=tenant.headers, json=msgspec.to_builtins(role))
        assert made.status_code == 201, made.text
        assert (made.json()["role_name"], made.json()["role_description"]) == (
            role.role_name,
            role.role_description,
        )


async def test_permissions_are_given_and_taken(api: Client, tenant: Tenant) -> None:
    role = await make_role(api, tenant, "Guest")
    link = f"/roles/{role}/permissions/{await permission_id(api, tenant, 'users:read')}"
    for _ in range(2):  # a repeat changes nothing
        assert (await api.put(link, headers=tenant.headers)).status_code == 204
    found = (await api.get(f"/roles/{role}", headers=tenant.headers)).json()
    assert found["permissions"] == ["users:read"]
    assert (await api.delete(link, headers=tenant.headers)).status_code == 204
    problem(await api.delete(link, headers=tenant.headers), 404, "not-found")
    for missing in (f"/roles/{role}/permissions/999", "/roles/999/permissions/1"):
        problem(await api.put(missing, headers=tenant.headers), 404, "not-found")
        problem(await api.delete(missing, headers=tenant.headers), 404, "not-found")


async def test_the_first_roles_keep_their_names_and_stay(api: Client, tenant: Tenant) -> None:
    for name in ("ADMIN_MASTER", "ADMIN", "USER"):
        address = f"/roles/{await role_id(api, tenant, name)}"
        problem(
            await api.patch(address, headers=tenant.headers, json={"role_name": "Other"}), 409, "conflict"
        )
        problem(await api.delete(address, headers=tenant.headers), 409, "conflict")
        described = await api.patch(address, headers=tenant.headers, json={"role_description": "Ours"})
        assert described.json()["role_description"] == "Ours"
    own = await make_role(api, tenant, "Guest")
    taken = await api.patch(f"/roles/{own}", headers=tenant.headers, json={"role_name": "ADMIN"})
    problem(taken, 409, "conflict")
    problem(await api.post("/roles", headers=tenant.headers, json={"role_name": "USER"}), 409, "conflict")


async def test_the_administrators_role_keeps_what_the_api_enforces(api: Client, tenant: Tenant) -> None:
    master = await role_id(api, tenant, "ADMIN_MASTER")
    enforced = f"/roles/{master}/permissions/{await permission_id(api, tenant, 'users:write')}"
    problem(await api.delete(enforced, headers=tenant.headers), 409, "conflict")
    own = f"/roles/{master}/permissions/{await make_permission(api, tenant, 'ovens:heat')}"
    assert (await api.put(own, headers=tenant.headers)).status_code == 204
    assert (await api.delete(own, headers=tenant.headers)).status_code == 204


async def test_a_role_that_somebody_has_stays(api: Client, tenant: Tenant) -> None:
    role = await make_role(api, tenant, "Guest")
    user = await hire(api, tenant, "bob@example.com", "Guest")
    problem(await api.delete(f"/roles/{role}", headers=tenant.headers), 409, "conflict")
    assert (await api.delete(f"/users/{user}", headers=tenant.headers)).status_code == 204
    assert (await api.delete(f"/roles/{role}", headers=tenant.headers)).status_code == 204


async def test_nobody_gives_a_role_what_they_have_not(api: Client, staffed: Tenant) -> None:
    role = await make_role(api, staffed, "Clerk")
    for name in ("roles:read", "roles:write", "permissions:read", "users:read"):
        link = f"/roles/{role}/permissions/{await permission_id(api, staffed, name)}"
        assert (await api.put(link, headers=staffed.headers)).status_code == 204
    await hire(api, staffed, "bob@example.com", "Clerk")
    bob = await log_in(api, "bob@example.com")
    narrow = await key_with(api, staffed, "roles:read", "roles:write", "users:read")
    held = f"/roles/{role}/permissions/{await permission_id(api, staffed, 'users:read')}"
    lacking = f"/roles/{role}/permissions/{await permission_id(api, staffed, 'keys:write')}"
    own = f"/roles/{role}/permissions/{await make_permission(api, staffed, 'ovens:heat')}"
    for who in (bob, narrow):
        assert (await api.put(held, headers=who.headers)).status_code == 204
        problem(await api.put(lacking, headers=who.headers), 403, "forbidden")
        problem(await api.put(own, headers=who.headers), 403, "forbidden")
    assert "keys:write" not in (await api.get("/auth/me", headers=bob.bearer)).json()["permissions"]
    # A user who may define the tenant's own permissions may also grant them.
    assert (await api.put(own, headers=staffed.headers)).status_code == 204


async def test_a_permission_is_made_read_changed_listed_and_deleted(api: Client, tenant: Tenant) -> None:
    made = await api.post(
        "/permissions",
        headers=tenant.headers,
        json={"name": "ovens:heat", "title": "Heat ovens", "account_id": 7},
    )
    assert made.status_code == 201
    permission = made.json()
    assert (permission["name"], permission["account_id"], permission["description"]) == (
        "ovens:heat",
        7,
        None,
    )
    assert len(permission["uuid"]) == 36
    address = f"/permissions/{permission['id']}"
    changed = await api.patch(
        address, headers=tenant.headers, json={"name": "ovens:fire", "description": "Hot"}
    )
    assert (changed.status_code, changed.json()["name"]) == (200, "ovens:fire")
    assert (await api.get(address, headers=tenant.headers)).json() == changed.json()
    listed = await api.get("/permissions", headers=tenant.headers)
    assert listed.json()["items"][-1] == changed.json()
    role = await make_role(api, tenant, "Baker")
    await api.put(f"/roles/{role}/permissions/{permission['id']}", headers=tenant.headers)
    assert (await api.delete(address, headers=tenant.headers)).status_code == 204
    assert (await api.get(f"/roles/{role}", headers=tenant.headers)).json()["permissions"] == []
    problem(await api.get(address, headers=tenant.headers), 404, "not-found")
    problem(await api.patch(address, headers=tenant.headers, json={}), 404, "not-found")


async def test_what_the_api_enforces_keeps_its_name_and_stays(api: Client, tenant: Tenant) -> None:
    address = f"/permissions/{await permission_id(api, tenant, 'keys:write')}"
    renamed = await api.patch(address, headers=tenant.headers, json={"name": "free"})
    problem(renamed, 409, "conflict")
    problem(await api.delete(address, headers=tenant.headers), 409, "conflict")
    titled = await api.patch(address, headers=tenant.headers, json={"title": "Schlüssel"})
    assert titled.json()["title"] == "Schlüssel"
    own = await make_permission(api, tenant, "ovens:heat")
    for name in ("keys:write", "users:read"):
        taken = await api.patch(f"/permissions/{own}", headers=tenant.headers, json={"name": name})
        problem(taken, 409, "conflict")
        again = await api.post("/permissions", headers=tenant.headers, json={"name": name, "title": "X"})
        problem(again, 409, "conflict")


async def test_roles_of_one_tenant_are_nothing_to_another(
    api: Client, tenant: Tenant, provisioner: Service
) -> None:
    other = await sign_up(api, "florist")
    role = await make_role(api, tenant, "Guest")
    assert (await api.get(f"/roles/{role}", headers=tenant.headers)).status_code == 200
    problem(await api.get(f"/roles/{role}", headers=other.headers), 404, "not-found")
    problem(await api.delete(f"/roles/{role}", headers=other.headers), 404, "not-found")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/roles", {}),
        ("/roles", {"role_name": ""}),
        ("/roles", {"role_name": "a\0b"}),
        ("/roles", {"role_name": "x" * 101}),
        ("/roles", {"role_name": "Guest", "permissions": ["keys:write"]}),
        ("/permissions", {"name": "x"}),
        ("/permissions", {"name": "x", "title": "X", "account_id": 2**31}),
        ("/permissions", {"name": "x", "title": "X", "uuid": "x"}),
    ],
)
async def test_malformed_roles_and_permissions_are_refused(
    api: Client, tenant: Tenant, path: str, body: dict[str, Any]
) -> None:
    problem(await api.post(path, headers=tenant.headers, json=body), 400, "validation")


async def test_changes_are_audited(api: Client, tenant: Tenant, owner: asyncpg.Connection) -> None:
    role, permission = await make_role(api, tenant, "Guest"), await make_permission(api, tenant, "ovens:heat")
    link = f"/roles/{role}/permissions/{permission}"
    await api.patch(f"/roles/{role}", headers=tenant.headers, json={"role_name": "Visitor"})
    await api.patch(f"/permissions/{permission}", headers=tenant.headers, json={"title": "Heat"})
    await api.put(link, headers=tenant.headers)
    await api.delete(link, headers=tenant.headers)
    await api.delete(f"/roles/{role}", headers=tenant.headers)
    await api.delete(f"/permissions/{permission}", headers=tenant.headers)
    rows = await owner.fetch(
        "SELECT action FROM shared.audit_log WHERE action LIKE 'role.%' OR action LIKE 'permission.%' ORDER BY id"
    )
    assert [row["action"] for row in rows] == [
        "role.create",
        "permission.create",
        "role.change",
        "permission.change",
        "role.grant",
        "role.revoke",
        "role.delete",
        "permission.delete",
    ]
