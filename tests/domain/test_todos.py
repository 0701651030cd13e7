"""To-dos: made, read, changed, deleted, found, sorted and paged."""

import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import asyncpg
import msgspec
import pytest

from api.web import lists
from db.domain import PermissionName
from db.settings import Settings
from tests.domain.factories import TodoFactory
from tests.operators import Operator
from tests.shell import alembic
from tests.support import Client, Service, Tenant, eventually, problem, sign_up


async def make(api: Client, tenant: Tenant, **fields: Any) -> dict[str, Any]:
    answer = await api.post("/todos", headers=tenant.headers, json=fields)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def found(api: Client, tenant: Tenant, **query: Any) -> list[str]:
    """Return the titles of all pages of a list."""
    titles: list[str] = []
    cursor: str | None = None
    while True:
        params = {**query, **({"cursor": cursor} if cursor else {})}
        answer = await api.get("/todos", headers=tenant.headers, params=params)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        titles += [item["title"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return titles


async def test_a_todo_lives(api: Client, tenant: Tenant) -> None:
    made = await make(api, tenant, title="Bake", due_at="2026-12-24T18:00:00+01:00")
    assert made["due_at"] == "2026-12-24T17:00:00Z"
    assert made["done"] is False
    path = f"/todos/{made['id']}"
    changed = await api.patch(path, headers=tenant.headers, json={"done": True, "due_at": None})
    assert (changed.json()["done"], changed.json()["due_at"], changed.json()["title"]) == (True, None, "Bake")
    assert changed.json()["updated_at"] >= made["updated_at"]
    assert (await api.get(path, headers=tenant.headers)).json() == changed.json()
    assert (await api.delete(path, headers=tenant.headers)).status_code == 204
    problem(await api.get(path, headers=tenant.headers), 404, "not-found")
    problem(await api.delete(path, headers=tenant.headers), 404, "not-found")
    problem(await api.patch(path, headers=tenant.headers, json={"done": True}), 404, "not-found")


async def test_what_a_patch_leaves_out_stays(api: Client, tenant: Tenant) -> None:
    made = await make(api, tenant, title="Bake", done=True)
    answer = await api.patch(f"/todos/{made['id']}", headers=tenant.headers, json={})
    assert {**answer.json(), "updated_at": None} == {**made, "updated_at": None}


async def test_whatever_the_factory_makes_is_given_back_as_it_was(api: Client, tenant: Tenant) -> None:
    for todo in TodoFactory.batch(10):
        made = await make(api, tenant, title=todo.title, done=todo.done)
        assert (made["title"], made["done"]) == (unicodedata.normalize("NFC", todo.title), todo.done)


@pytest.mark.parametrize("order", ["id", "-id", "title", "-title", "due_at", "-due_at"])
async def test_pages_hold_every_item_once_in_order(api: Client, tenant: Tenant, order: str) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    dues = [3, 1, None, 2, None, 1]
    for number, due in enumerate(dues):
        due_at = (start + timedelta(days=due)).isoformat() if due is not None else None
        await make(api, tenant, title="bcabca"[number] + str(number), due_at=due_at)
    whole = await found(api, tenant, order=order, limit=100)
    assert sorted(whole) == sorted(await found(api, tenant))
    assert await found(api, tenant, order=order, limit=2) == whole
    if order.startswith("-"):
        assert whole == (await found(api, tenant, order=order[1:]))[::-1]


async def test_filters_narrow(api: Client, tenant: Tenant) -> None:
    await make(api, tenant, title="Bake 100% rye", done=True, due_at="2026-01-02T00:00:00Z")
    await make(api, tenant, title="Sweep_floor", due_at="2026-01-01T00:00:00Z")
    await make(api, tenant, title="Rest")
    assert await found(api, tenant, done="true") == ["Bake 100% rye"]
    assert await found(api, tenant, done="false") == ["Sweep_floor", "Rest"]
    assert await found(api, tenant, q="BAKE") == ["Bake 100% rye"]
    assert await found(api, tenant, q="%") == ["Bake 100% rye"]
    assert await found(api, tenant, q="_") == ["Sweep_floor"]
    assert await found(api, tenant, due_before="2026-01-02T00:00:00Z") == ["Sweep_floor"]
    assert await found(api, tenant, due_after="2026-01-02T00:00:00Z") == ["Bake 100% rye"]
    assert await found(api, tenant, q="e", done="false", due_before="2026-02-01T00:00:00Z") == ["Sweep_floor"]


async def test_a_cursor_of_another_order_is_refused(api: Client, tenant: Tenant) -> None:
    for title in "abc":
        await make(api, tenant, title=title)
    page = await api.get("/todos?limit=1", headers=tenant.headers)
    cursor = page.json()["next_cursor"]
    answer = await api.get("/todos", headers=tenant.headers, params={"cursor": cursor, "order": "-id"})
    problem(answer, 400, "validation")


async def test_changes_are_audited_without_their_values(
    api: Client, tenant: Tenant, owner: asyncpg.Connection
) -> None:
    made = await make(api, tenant, title="Buy flour")
    path = f"/todos/{made['id']}"
    changed = await api.patch(path, headers=tenant.headers, json={"title": "Buy rye", "done": True})
    assert (await api.delete(path, headers=tenant.headers)).status_code == 204
    problem(await api.delete(path, headers=tenant.headers), 404, "not-found")
    problem(await api.patch(path, headers=tenant.headers, json={"done": False}), 404, "not-found")
    rows = await owner.fetch("SELECT * FROM shared.audit_log WHERE action LIKE 'todo.%' ORDER BY id")
    assert [row["action"] for row in rows] == ["todo.create", "todo.change", "todo.delete"]
    assert {(row["actor"], str(row["tenant_id"])) for row in rows} == {(tenant.key.split("_")[1], tenant.id)}
    assert rows[1]["request_id"] == changed.headers["x-request-id"]
    details = [msgspec.json.decode(row["detail"]) for row in rows]
    assert details[1] == {"todo_id": made["id"], "fields": ["done", "title"]}
    assert not any("Buy" in row["detail"] for row in rows)


async def test_one_tenants_todos_are_invisible_to_another(
    api: Client, tenant: Tenant, provisioner: Service
) -> None:
    other = await sign_up(api, "florist")
    made = await make(api, tenant, title="Secret recipe")
    assert await found(api, other) == []
    problem(await api.get(f"/todos/{made['id']}", headers=other.headers), 404, "not-found")
    assert (await api.get(f"/todos/{made['id']}", headers=tenant.headers)).status_code == 200


async def test_every_role_of_a_new_tenant_reads_and_writes_todos(api: Client, tenant: Tenant) -> None:
    roles = (await api.get("/roles", headers=tenant.headers)).json()["items"]
    for role in roles:
        assert {"todos:read", "todos:write"} <= set(role["permissions"]), role["role_name"]
    assert set(roles[-1]["permissions"]) <= set(get_args(PermissionName))  # and nothing of the house's


async def test_a_tenant_from_before_the_todos_gets_them_by_a_migration(
    api: Client, config: Settings, tenant: Tenant, operator_token: str
) -> None:
    await alembic(config, "-x", "tenant=bakery", "downgrade", "87a2d94f5e16")
    problem(await api.get("/todos", headers=tenant.headers), 503, "tenant-out-of-range")
    assert (await Operator(api, operator_token).does("migrate", "bakery")).status_code == 202

    async def served() -> bool:
        return (await api.get("/todos", headers=tenant.headers)).status_code == 200

    await eventually(served, what="to-dos served")
    await make(api, tenant, title="Again")


@pytest.mark.parametrize(
    "fields",
    [
        {"title": 1},
        {"title": ""},
        {"title": "a\0b"},
        {"title": "x" * 501},
        {"title": "x", "done": "yes"},
        {"title": "x", "due_at": "tomorrow"},
        {"title": "x", "due_at": "2026-01-01T00:00:00"},
        {"title": "x", "due_at": "0001-01-01T00:00:00+14:00"},
        {"title": "x", "due_at": "9999-12-31T23:59:59-14:00"},
        {"title": "x", "owner_id": 99999999},
        {"title": "x", "owner_id": 99999999999999999999},
        {"title": "x", "owner_id": -1},
        {"title": "x", "colour": "red"},
    ],
)
async def test_malformed_todos_are_refused(api: Client, tenant: Tenant, fields: dict[str, Any]) -> None:
    problem(await api.post("/todos", headers=tenant.headers, json=fields), 400, "validation")
    assert await found(api, tenant) == []


@pytest.mark.parametrize(
    "query", ["order=colour", "done=perhaps", "owner_id=0", "due_before=today", "q=%00", "q=" + "x" * 201]
)
async def test_wrong_filters_are_400(api: Client, tenant: Tenant, query: str) -> None:
    problem(await api.get(f"/todos?{query}", headers=tenant.headers), 400, "validation")


async def test_a_time_at_the_edge_of_what_postgresql_keeps_is_refused(api: Client, tenant: Tenant) -> None:
    made = await make(api, tenant, title="Bake", due_at="9999-12-30T23:59:59.999999Z")
    assert made["due_at"] == "9999-12-30T23:59:59.999999Z"
    for edge in ("9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z"):
        body = {"title": "Bake", "due_at": edge}
        problem(await api.post("/todos", headers=tenant.headers, json=body), 400, "validation")
        changed = await api.patch(f"/todos/{made['id']}", headers=tenant.headers, json={"due_at": edge})
        problem(changed, 400, "validation")
        for name in ("due_before", "due_after"):
            problem(await api.get("/todos", headers=tenant.headers, params={name: edge}), 400, "validation")
        cursor = lists.encode("todos:due_at", edge, 1)
        query = {"order": "due_at", "cursor": cursor}
        problem(await api.get("/todos", headers=tenant.headers, params=query), 400, "validation")


@pytest.mark.parametrize("char", ["x", "\u00e9", "\u5bff", "\U0001f950", '"', "\\"])
async def test_a_page_goes_on_after_the_longest_title_in_any_script(
    api: Client, tenant: Tenant, char: str
) -> None:
    titles = [char * 499 + end for end in "abc"]
    for title in titles:
        await make(api, tenant, title=title)
    assert sorted(await found(api, tenant, order="title", limit=1)) == titles
    assert sorted(await found(api, tenant, order="-title", limit=1)) == titles
