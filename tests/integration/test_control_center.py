"""The control center's view of tenants: lists, one tenant, its keys and hosts, and the audit log."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from db.migrations.lineages import lineage
from db.settings import Settings
from tests.operators import Operator
from tests.support import Client, Service, Tenant, problem, requested, serving, sign_up

ROUTES = [
    ("GET", "/cc/tenants", None),
    ("GET", "/cc/tenants/bakery", None),
    ("DELETE", "/cc/tenants/bakery", None),
    ("POST", "/cc/tenants/bakery/suspend", {}),
    ("POST", "/cc/tenants/bakery/resume", {}),
    ("POST", "/cc/tenants/bakery/restore", {}),
    ("POST", "/cc/tenants/bakery/rename", {"name": "Mine"}),
    ("POST", "/cc/tenants/bakery/migrate", {}),
    ("POST", "/cc/tenants/bakery/keys", {"name": "mine"}),
    ("PUT", "/cc/tenants/bakery/hosts/mine.example.com", None),
    ("DELETE", "/cc/tenants/bakery/hosts/mine.example.com", None),
    ("GET", "/cc/drift", None),
    ("GET", "/cc/audit", None),
]


async def slugs(api: Client, as_operator: dict[str, str], **query: Any) -> list[str]:
    """Return the slugs that a list of tenants answers."""
    answer = await api.get("/cc/tenants", headers=as_operator, params=query)
    assert answer.status_code == 200, answer.text
    return [item["slug"] for item in answer.json()["items"]]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
async def test_neither_strangers_nor_tenants_get_in(
    api: Client, owner: asyncpg.Connection, method: str, path: str, body: dict[str, str] | None
) -> None:
    bakery = await requested(api, "bakery")
    before = await owner.fetchrow("SELECT * FROM shared.tenants")
    problem(await api.request(method, path, json=body), 401, "unauthenticated")
    problem(await api.request(method, path, json=body, headers=bakery.headers), 403, "forbidden")
    assert await owner.fetchrow("SELECT * FROM shared.tenants") == before
    assert await owner.fetchval("SELECT count(*) FROM shared.audit_log WHERE action <> 'tenant.create'") == 0


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
async def test_operators_do(
    api: Client, as_operator: dict[str, str], method: str, path: str, body: dict[str, str] | None
) -> None:
    await requested(api, "bakery")
    answer = await api.request(method, path, json=body, headers=as_operator)
    # Let in: the answer says what the waiting tenant's state does not allow, or what does not exist.
    assert answer.status_code in {200, 201, 204, 404, 409}, answer.text


async def test_an_unknown_tenant_is_not_found_by_whatever_name(
    api: Client, as_operator: dict[str, str], operator: Operator
) -> None:
    await requested(api, "bakery")
    for name in ("florist", "a%00b", "%ff", "x" * 80, "..."):
        problem(await api.get(f"/cc/tenants/{name}", headers=as_operator), 404, "not-found")
        problem(await operator.does("suspend", name), 404, "not-found")
    assert (await api.get("/cc/tenants/BAKERY", headers=as_operator)).status_code == 200


async def test_tenants_are_listed_by_status_revision_and_text(
    api: Client,
    tenant: Tenant,
    as_operator: dict[str, str],
    operator: Operator,
    provisioner: Service,
    config: Settings,
) -> None:
    await sign_up(api, "florist")
    await operator.has("suspend", "florist")
    await provisioner.stop()
    await requested(api, "grocer")
    await operator.has("rename", "grocer", name="Fruit & Vegetables")
    assert await slugs(api, as_operator) == ["bakery", "florist", "grocer"]
    assert await slugs(api, as_operator, status="suspended") == ["florist"]
    assert await slugs(api, as_operator, revision="head") == ["bakery", "florist"]
    assert await slugs(api, as_operator, revision=lineage("tenant", config.alembic_config).head[:4]) == [
        "bakery",
        "florist",
    ]
    assert await slugs(api, as_operator, revision="4c1f0e7a92d3") == []
    assert await slugs(api, as_operator, q="FRUIT") == ["grocer"]
    assert await slugs(api, as_operator, q="BAK", status="active") == ["bakery"]
    assert await slugs(api, as_operator, q="%") == []
    problem(await api.get("/cc/tenants", headers=as_operator, params={"status": "gone"}), 400, "validation")


async def test_purged_tenants_are_seen_only_where_they_are_asked_for(
    api: Client, as_operator: dict[str, str], owner: asyncpg.Connection
) -> None:
    await requested(api, "bakery")
    await owner.execute("UPDATE shared.tenants SET status = 'purged'")
    assert await slugs(api, as_operator) == []
    assert await slugs(api, as_operator, status="purged") == ["bakery"]
    problem(await api.get("/cc/tenants/bakery", headers=as_operator), 404, "not-found")


async def test_the_pages_of_a_list_show_every_tenant_once(api: Client, as_operator: dict[str, str]) -> None:
    for number in range(7):
        await requested(api, f"shop{number}")
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query: dict[str, Any] = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        page = (await api.get("/cc/tenants", headers=as_operator, params=query)).json()
        assert len(page["items"]) <= 3
        seen += [item["slug"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [f"shop{number}" for number in range(7)]
    for path in ("/cc/tenants", "/cc/drift", "/cc/audit"):
        problem(await api.get(path, headers=as_operator, params={"cursor": "nonsense"}), 400, "validation")


async def test_a_tenant_is_shown_with_hosts_keys_and_steps_and_without_secrets(
    api: Client, tenant: Tenant, as_operator: dict[str, str], owner: asyncpg.Connection
) -> None:
    await api.put("/cc/tenants/bakery/hosts/shop.example.com", headers=as_operator)
    answer = await api.get("/cc/tenants/bakery", headers=as_operator)
    seen = answer.json()
    assert seen["hosts"] == ["shop.example.com"]
    assert [(key["name"], key["revoked_at"]) for key in seen["keys"]] == [("first key", None)]
    assert [step["type"] for step in seen["timeline"]][-1] == "tenant.provisioned"
    secret = await owner.fetchval("SELECT encode(token_hash, 'hex') FROM shared.access_tokens LIMIT 1")
    assert tenant.key not in answer.text
    assert secret not in answer.text
    assert "hash" not in answer.text


async def test_a_key_from_an_operator_opens_the_tenant_as_far_as_it_says(
    api: Client, tenant: Tenant, operator: Operator, owner: asyncpg.Connection
) -> None:
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    full = await operator.does("keys", "bakery", name="rotated")
    narrow = await operator.does("keys", "bakery", name="reader", scopes=["users:read"], expires_at=later)
    assert (full.status_code, narrow.status_code) == (201, 201)
    body = {"email": "baker@example.com"}
    everything = {"tenant": "bakery", "authorization": f"Bearer {full.json()['api_key']}"}
    reading = {"tenant": "bakery", "authorization": f"Bearer {narrow.json()['api_key']}"}
    assert (await api.post("/users", headers=everything, json=body)).status_code == 201
    assert (await api.get("/users", headers=reading)).status_code == 200
    problem(await api.post("/users", headers=reading, json=body), 403, "forbidden")
    kept = await owner.fetch(
        "SELECT detail::text AS detail FROM shared.audit_log WHERE action = 'key.create'"
    )
    assert len(kept) == 2
    assert not any(full.json()["api_key"] in row["detail"] for row in kept)


async def test_a_key_that_has_ended_already_or_permits_what_nobody_knows_is_refused(
    tenant: Tenant, operator: Operator
) -> None:
    past = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    problem(await operator.does("keys", "bakery", name="late", expires_at=past), 400, "validation")
    problem(await operator.does("keys", "bakery", name="odd", scopes=["all"]), 400, "validation")
    problem(await operator.does("keys", "bakery", name="empty", scopes=[]), 400, "validation")
    problem(await operator.does("keys", "bakery"), 400, "validation")
    await operator.has("delete", "bakery")
    problem(await operator.does("keys", "bakery", name="gone"), 409, "state-conflict")


async def test_a_host_leads_to_its_tenant_until_it_is_taken_away(
    api: Client, tenant: Tenant, as_operator: dict[str, str], provisioner: Service
) -> None:
    await sign_up(api, "florist")
    path = "/cc/tenants/bakery/hosts/Shop.example.com"
    by_host = {**tenant.bearer, "host": "shop.example.com"}
    problem(await api.get("/users", headers=by_host), 400, "tenant-required")
    for _ in range(2):  # the same twice is the same
        assert (await api.put(path, headers=as_operator)).status_code == 204
    assert (await api.get("/users", headers=by_host)).status_code == 200
    other = "/cc/tenants/florist/hosts/shop.example.com"
    problem(await api.put(other, headers=as_operator), 409, "host-taken")
    problem(await api.delete(other, headers=as_operator), 404, "not-found")
    assert (await api.delete(path, headers=as_operator)).status_code == 204
    problem(await api.get("/users", headers=by_host), 400, "tenant-required")
    problem(await api.put("/cc/tenants/bakery/hosts/10.0.0.1", headers=as_operator), 400, "validation")


async def test_the_audit_log_is_read_newest_first_by_tenant_actor_action_and_time(
    api: Client, tenant: Tenant, as_operator: dict[str, str], operator: Operator, provisioner: Service
) -> None:
    await sign_up(api, "florist")
    await operator.has("suspend", "bakery", reason="unpaid")
    middle = datetime.now(UTC).isoformat()
    await operator.has("resume", "bakery")

    async def found(**query: Any) -> list[tuple[str | None, str]]:
        answer = await api.get("/cc/audit", headers=as_operator, params=query)
        assert answer.status_code == 200, answer.text
        return [(entry["tenant"], entry["action"]) for entry in answer.json()["items"]]

    everything = await found()
    assert everything == [
        ("bakery", "tenant.resume"),
        ("bakery", "tenant.suspend"),
        ("florist", "tenant.create"),
        (None, "operator_token.create"),
        ("bakery", "tenant.create"),
    ]
    assert await found(tenant="florist") == [("florist", "tenant.create")]
    assert await found(action="tenant.suspend") == [("bakery", "tenant.suspend")]
    assert await found(since=middle) == [("bakery", "tenant.resume")]
    assert await found(actor="anonymous") == [("florist", "tenant.create"), ("bakery", "tenant.create")]
    assert await found(actor="test") == [(None, "operator_token.create")]
    assert await found(tenant="nobody") == []
    page = (await api.get("/cc/audit", headers=as_operator, params={"limit": 3})).json()
    rest = (await api.get("/cc/audit", headers=as_operator, params={"cursor": page["next_cursor"]})).json()
    assert [entry["action"] for entry in rest["items"]] == ["operator_token.create", "tenant.create"]
    assert page["items"][1]["detail"]["reason"] == "unpaid"


async def test_the_body_of_an_act_may_be_left_out_and_says_nothing_unknown(
    api: Client, tenant: Tenant, as_operator: dict[str, str]
) -> None:
    path = "/cc/tenants/bakery/suspend"
    problem(await api.post(path, headers=as_operator, json={"reasn": "typo"}), 400, "validation")
    problem(await api.post(path, headers=as_operator, json={"reason": "a\x00b"}), 400, "validation")
    assert (await api.post(path, headers=as_operator)).status_code == 200


async def test_the_document_says_which_bodies_may_be_left_out(api: Client) -> None:
    paths = (await api.get("/schema/openapi.json")).json()["paths"]
    assert paths["/cc/tenants/{slug}/suspend"]["post"]["requestBody"]["required"] is False
    assert paths["/cc/tenants/{slug}/rename"]["post"]["requestBody"]["required"] is True
    assert "409" in paths["/cc/tenants/{slug}"]["delete"]["responses"]


async def test_how_long_a_deleted_tenant_is_kept_is_a_setting(
    config: Settings, operator_token: str, owner: asyncpg.Connection
) -> None:

    async with serving(replace(config, purge_after_days=2)) as api:
        await requested(api, "bakery")
        await Operator(api, operator_token).has("delete", "bakery")
    days = await owner.fetchval("SELECT extract(epoch FROM purge_after - now()) / 86400 FROM shared.tenants")
    assert 1.9 < days <= 2
