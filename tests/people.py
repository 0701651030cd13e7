"""People: log users in, create users, and look up their roles and permissions."""

from typing import Any

import msgspec

from tests.support import Client, Tenant

EMAIL = "ann@example.com"
PASSWORD = "correct horse battery"
ADMIN = {"email": EMAIL, "password": PASSWORD, "first_name": "Ann"}


class Person(msgspec.Struct, frozen=True):
    """A user who is logged in."""

    tenant: str
    token: str

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    @property
    def headers(self) -> dict[str, str]:
        return {"tenant": self.tenant, **self.bearer}


async def log_in(api: Client, email: str = EMAIL, password: str = PASSWORD) -> Person:
    """Log a user in and return the person."""
    answer = await api.post("/auth/login", json={"email": email, "password": password})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return Person(body["tenant"], body["token"])


async def role_id(api: Client, who: Tenant | Person, name: str) -> int:
    """Return the id of the role called ``name``."""
    answer = await api.get("/roles", headers=who.headers)
    assert answer.status_code == 200, answer.text
    return next(int(role["id"]) for role in answer.json()["items"] if role["role_name"] == name)


async def permission_id(api: Client, who: Tenant | Person, name: str) -> int:
    """Return the id of the permission called ``name``."""
    answer = await api.get("/permissions", headers=who.headers)
    assert answer.status_code == 200, answer.text
    return next(int(found["id"]) for found in answer.json()["items"] if found["name"] == name)


async def hire(api: Client, tenant: Tenant, email: str, role: str = "USER", **fields: Any) -> int:
    """Create a user with the usual password and return the id."""
    body = {"email": email, "password": PASSWORD, "user_role_id": await role_id(api, tenant, role), **fields}
    answer = await api.post("/users", headers=tenant.headers, json=body)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


async def key_with(api: Client, tenant: Tenant, *scopes: str) -> Tenant:
    """Return the tenant with a new key that has only these scopes."""
    answer = await api.post("/keys", headers=tenant.headers, json={"name": "narrow", "scopes": scopes})
    assert answer.status_code == 201, answer.text
    return Tenant(tenant.id, tenant.slug, answer.json()["api_key"])
