"""Owners: whose to-do it is."""

from tests.people import ADMIN, hire, log_in
from tests.support import Client, Service, Tenant, sign_up


async def test_whoever_is_logged_in_owns_what_they_make_unless_they_say_otherwise(
    api: Client, provisioner: Service
) -> None:
    tenant = await sign_up(api, "bakery", admin=ADMIN)
    ann = await log_in(api)
    me = (await api.get("/auth/me", headers=ann.bearer)).json()["user"]["id"]
    mine = await api.post("/todos", headers=ann.headers, json={"title": "Mine"})
    nobodys = await api.post("/todos", headers=ann.headers, json={"title": "Nobody's", "owner_id": None})
    by_key = await api.post("/todos", headers=tenant.headers, json={"title": "By a key"})
    assert [answer.json()["owner_id"] for answer in (mine, nobodys, by_key)] == [me, None, None]


async def test_a_deleted_users_todos_stay_and_are_nobodys(api: Client, tenant: Tenant) -> None:
    user = await hire(api, tenant, "bob@example.com")
    todo = await api.post("/todos", headers=tenant.headers, json={"title": "Bake", "owner_id": user})
    assert todo.json()["owner_id"] == user
    await api.delete(f"/users/{user}", headers=tenant.headers)
    left = await api.get(f"/todos/{todo.json()['id']}", headers=tenant.headers)
    assert left.json()["owner_id"] is None
