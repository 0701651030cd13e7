"""Access: which token opens what, whatever the tenant's state."""

import re
from typing import get_args
from uuid import UUID

import asyncpg
import httpx
import pytest
from msgspec.structs import replace
from sqlalchemy import make_url

from api.app import create_app
from api.gate.rules import OPT, Rule
from db.models.access import PermissionName
from db.settings import Settings
from db.tenants import tokens
from tests.people import Person, log_in
from tests.proxy import Direction, proxied
from tests.support import Client, Service, Tenant, eventually, kind_only, one, problem, serving, sign_up


async def until(api: Client, headers: dict[str, str], status: int, kind: str) -> httpx.Response:
    """Ask for the users until the answer is this problem, and return it."""

    async def probe() -> httpx.Response | None:
        answer = await api.get("/users", headers=headers)
        return answer if answer.status_code == status else None

    answer = await eventually(probe, within=5, what=f"{status} {kind}")
    assert answer is not None
    problem(answer, status, kind)
    return answer


@pytest.mark.parametrize("state", ["pending", "provisioning", "failed"])
async def test_a_tenant_in_the_making_is_to_be_asked_again(
    api: Client, staffed: Tenant, ann: Person, owner: asyncpg.Connection, state: str
) -> None:
    for headers in (staffed.headers, ann.headers):
        assert (await api.get("/users", headers=headers)).status_code == 200
    await owner.execute("UPDATE shared.tenants SET status = $1", state)
    for headers in (staffed.headers, ann.headers):
        answer = await until(api, headers, 503, "tenant-not-ready")
        assert int(answer.headers["retry-after"]) > 0


async def test_a_suspended_tenant_has_its_own_answer(
    api: Client, staffed: Tenant, ann: Person, owner: asyncpg.Connection
) -> None:
    await owner.execute("UPDATE shared.tenants SET status = 'suspended'")
    for headers in (staffed.headers, ann.headers):
        answer = await until(api, headers, 403, "tenant-suspended")
        assert "retry-after" not in answer.headers
    assert (await api.get("/tenants/bakery", headers=staffed.bearer)).json()["status"] == "suspended"
    await owner.execute("UPDATE shared.tenants SET status = 'active'")

    async def served() -> bool:
        return (await api.get("/users", headers=staffed.headers)).status_code == 200

    await eventually(served, within=5)


@pytest.mark.parametrize("state", ["deleted", "purging", "purged"])
async def test_a_deleted_tenant_is_an_unknown_one(
    api: Client, staffed: Tenant, ann: Person, provisioner: Service, owner: asyncpg.Connection, state: str
) -> None:
    other = await sign_up(api, "florist")
    unknown = await api.get("/users", headers={**other.headers, "tenant": "nobody"})
    await owner.execute("UPDATE shared.tenants SET status = $1 WHERE slug = 'bakery'", state)
    for headers in (staffed.headers, ann.headers):
        answer = await until(api, headers, 403, "tenant-forbidden")
        assert kind_only(answer) == kind_only(unknown)


@pytest.mark.parametrize(
    ("revision", "compatible_from", "served"),
    [
        ("4c1f0e7a92d3", "4c1f0e7a92d3", False),  # older than this release's floor
        ("ffffffffffff", "4c1f0e7a92d3", True),  # newer, and says itself that this release is compatible
        ("ffffffffffff", "eeeeeeeeeeee", False),
        ("ffffffffffff", None, False),
    ],
)
async def test_a_revision_is_served_or_not(
    api: Client,
    staffed: Tenant,
    owner: asyncpg.Connection,
    revision: str,
    compatible_from: str | None,
    served: bool,
) -> None:
    assert (await api.get("/users", headers=staffed.headers)).status_code == 200
    await owner.execute(
        "UPDATE shared.tenants SET revision = $1, compatible_from = $2", revision, compatible_from
    )
    if served:
        assert (await api.get("/users", headers=staffed.headers)).status_code == 200
    else:
        answer = await until(api, staffed.headers, 503, "tenant-out-of-range")
        assert int(answer.headers["retry-after"]) > 0


async def test_an_unknown_tenant_and_a_foreign_one_look_the_same(
    api: Client, staffed: Tenant, ann: Person, provisioner: Service
) -> None:
    await sign_up(api, "florist")
    for headers in (staffed.headers, ann.headers):
        assert (await api.get("/users", headers=headers)).status_code == 200
        answers = [
            await api.get("/users", headers={**headers, "tenant": slug})
            for slug in ("florist", "nobody", "", "a\x01b", "florist,bakery")
        ]
        for answer in answers:
            problem(answer, 403, "tenant-forbidden")
        assert all(kind_only(answer) == kind_only(answers[0]) for answer in answers)


async def test_an_unknown_tenant_and_a_foreign_one_cost_the_same(
    config: Settings, api: Client, provisioner: Service
) -> None:
    """An API that remembers nothing yet asks PostgreSQL the same for both."""
    tenant = await sign_up(api, "bakery")
    await sign_up(api, "florist")
    target = make_url(config.require("database_url"))
    assert target.port is not None
    async with proxied(target.port) as proxy:
        through = replace(config, database_url=proxy.through(config.require("database_url")))

        async def asked(slug: str) -> list[bytes]:
            statements: list[bytes] = []

            def listen(direction: Direction, data: bytes) -> None:
                if direction == "up":
                    statements.extend(re.findall(rb"SELECT[^\x00]+FROM[^\x00]+", data))

            async with serving(through) as fresh:
                assert (await fresh.get("/health/ready")).status_code == 200
                proxy.on_data = listen
                answer = await fresh.get("/users", headers={**tenant.headers, "tenant": slug})
                proxy.on_data = lambda *_: None
            problem(answer, 403, "tenant-forbidden")
            return statements

        unknown, foreign = await asked("nobody"), await asked("florist")
    assert any(b"shared.access_tokens" in text and b"shared.tenants" in text for text in unknown)
    assert foreign == unknown


async def test_the_tenant_is_named_once(api: Client, staffed: Tenant, ann: Person) -> None:
    for who in (staffed, ann):
        problem(await api.get("/users", headers=who.bearer), 400, "tenant-required")
        twice = [*who.headers.items(), ("tenant", "bakery")]
        problem(await api.get("/users", headers=twice), 400, "tenant-ambiguous")


async def test_a_host_names_the_tenant_and_must_agree(api: Client, provisioner: Service) -> None:
    bakery = await sign_up(api, "bakery", host="bakery.example.com")
    florist = await sign_up(api, "florist", host="florist.example.com")
    at_bakery = {"host": "Bakery.example.com:8000"}
    assert (await api.get("/users", headers={**bakery.bearer, **at_bakery})).status_code == 200
    assert (await api.get("/users", headers={**bakery.headers, **at_bakery})).status_code == 200
    problem(await api.get("/users", headers={**florist.bearer, **at_bakery}), 403, "tenant-forbidden")
    problem(await api.get("/users", headers={**florist.headers, **at_bakery}), 403, "tenant-forbidden")
    elsewhere = {"host": "unknown.example.com"}
    problem(await api.get("/users", headers={**bakery.bearer, **elsewhere}), 400, "tenant-required")
    assert (await api.get("/users", headers={**bakery.headers, **elsewhere})).status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer x",
        "Basic YTpi",
        "Bearer tnt_aaaaaaaaaaaaaaaa_" + "a" * 59,
        "Bearer " + tokens.mint("tenant").text,
        "Bearer " + tokens.mint("user").text,
        "Bearer " + tokens.mint("operator").text,
    ],
    ids=["none", "empty", "no-token", "no-shape", "basic", "no-checksum", "tenant", "user", "operator"],
)
async def test_without_a_good_token_nothing_opens(
    api: Client, staffed: Tenant, authorization: str | None
) -> None:
    assert (await api.get("/users", headers=staffed.headers)).status_code == 200
    headers = {
        "tenant": staffed.slug,
        **({"authorization": authorization} if authorization is not None else {}),
    }
    answer = await api.get("/users", headers=headers)
    problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_token_under_another_kinds_prefix_is_nothing(
    api: Client, staffed: Tenant, operator_token: str
) -> None:
    """A user's token says that it is an operator's, its checksum mended."""
    for text, prefix in ((staffed.key, "opr"), (staffed.key, "usr"), (operator_token, "tnt")):
        body = prefix + text[3:-7]
        forged = body + tokens._checksum(body)
        assert tokens.parse(forged) is not None
        for path in ("/users", "/cc/messages", "/tenants/bakery"):
            headers = {"tenant": "bakery", "authorization": f"Bearer {forged}"}
            problem(await api.get(path, headers=headers), 401, "unauthenticated")


def routes(config: Settings) -> list[tuple[str, str, Rule]]:
    """Return each route's method and a path that leads to it, with its rule."""
    said = {"slug": "bakery", "host": "a.example.com", "key_id": "a" * 16}
    found = []
    for route in create_app(config).routes:
        parts = [
            part
            if isinstance(part, str)
            else said.get(part.name, {int: "1", UUID: str(UUID(int=1))}.get(part.type, "x"))
            for part in route.path_components
        ]
        for handler in getattr(route, "route_handlers", ()):
            rule = handler.opt.get(OPT)
            if isinstance(rule, Rule):
                found += [(method, "/" + "/".join(parts), rule) for method in handler.http_methods]
    return found


async def test_the_kinds_of_tokens_are_disjoint_on_every_route(
    api: Client, config: Settings, staffed: Tenant, ann: Person, operator_token: str
) -> None:
    every = {
        "key": {"tenant": "bakery", "authorization": f"Bearer {staffed.key}"},
        "user": ann.headers,
        "operator": {"tenant": "bakery", "authorization": f"Bearer {operator_token}"},
    }
    closed = {
        "tenant": ("operator",),
        "user": ("key", "operator"),
        "tenant-or-operator": ("user",),
        "operator": ("key", "user"),
    }
    checked = 0
    for method, path, rule in routes(config):
        if rule.who in {"public", "signup"}:
            continue
        problem(await api.request(method, path, headers={"tenant": "bakery"}), 401, "unauthenticated")
        for kind in closed[rule.who]:
            problem(await api.request(method, path, headers=every[kind]), 403, "forbidden")
            checked += 1
    assert checked > 50
    assert (await api.get("/users", headers=every["key"])).status_code == 200
    assert (await api.get("/users", headers=every["user"])).status_code == 200
    assert (await api.get("/cc/messages", headers=every["operator"])).status_code == 200


async def test_every_route_of_a_tenant_asks_for_its_permission(
    api: Client, config: Settings, staffed: Tenant, owner: asyncpg.Connection
) -> None:
    bare = tokens.mint("tenant")
    row = await one(owner, "SELECT id FROM shared.tenants WHERE slug = 'bakery'")
    await tokens.store(owner, bare, name="bare", tenant_id=row["id"])
    headers = {"tenant": "bakery", "authorization": f"Bearer {bare.text}"}
    asked = []
    for method, path, rule in routes(config):
        if rule.who == "tenant":
            assert rule.permission is not None, path
            problem(await api.request(method, path, headers=headers), 403, "forbidden")
            asked.append(rule.permission)
    assert len(asked) >= 20
    assert set(asked) >= set(get_args(PermissionName))


async def test_users_see_the_timeline_no_more_than_strangers(
    api: Client, staffed: Tenant, ann: Person
) -> None:
    assert (await api.get("/tenants/bakery", headers=staffed.bearer)).status_code == 200
    again = await log_in(api)
    for slug in ("bakery", "nobody"):
        problem(await api.get(f"/tenants/{slug}", headers=again.bearer), 403, "forbidden")
