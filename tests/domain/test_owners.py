"""Owners: whose to-do it is."""

from tests.people import ADMIN, log_in
from tests.support import Client, Service, sign_up


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
