"""Every route, every kind of token, and every way a tenant can be meant: one answer for each."""

from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import httpx
import pytest
from msgspec.structs import replace

from api.gate.rules import Rule
from db.settings import Settings
from db.tenants import tokens
from tests.integration.test_access import routes, until
from tests.people import ADMIN
from tests.support import Client, Service, Tenant, problem, provisioning, requested, serving, sign_up

NOBODYS = str(2**31 - 1)
GATE = {
    f"/problems/{kind}"
    for kind in (
        "unauthenticated",
        "forbidden",
        "tenant-required",
        "tenant-forbidden",
        "tenant-suspended",
        "tenant-not-ready",
        "tenant-out-of-range",
    )
}
STATES = {"suspended": (403, "tenant-suspended"), "pending": (503, "tenant-not-ready")}
FORBIDDEN = (403, "forbidden")
FOREIGN = (403, "tenant-forbidden")
Answer = tuple[int, str] | None
"""A problem's status and kind; None where the gate lets the request through."""


def expected(rule: Rule, kind: str, meant: str) -> Answer:
    """Return what a token of a kind is answered on a route, for the tenant that is meant."""
    may = {
        "tenant": {"key", "user"},
        "user": {"user"},
        "tenant-or-operator": {"key", "operator"},
        "operator": {"operator"},
        "signup": {"operator"},
    }
    if kind not in may[rule.who]:
        return FORBIDDEN
    if kind == "operator":
        return None
    if meant in {"foreign", "unknown"}:
        return FOREIGN
    if meant in STATES and rule.served and rule.who != "tenant-or-operator":
        return STATES[meant]
    return None


def path_for(path: str, rule: Rule, kind: str, meant: str) -> str:
    """Return a path that names the tenant that is meant; whatever else it names does not exist."""
    slug = {"foreign": "florist", "unknown": "nobody"}.get(meant, "bakery")
    if kind == "operator" and rule.who == "operator":
        slug = "nobody"  # so that nothing is done to anybody
    parts = [slug if part == "bakery" else NOBODYS if part == "1" else part for part in path.split("/")]
    return "/".join(parts)


def check(answer: httpx.Response, wanted: Answer, case: str) -> None:
    """Check an answer against what was expected of it."""
    if wanted is not None:
        assert answer.status_code == wanted[0], f"{case}: {answer.status_code} {answer.text}"
        problem(answer, *wanted)
    elif answer.headers.get("content-type") == "application/problem+json":
        assert answer.json()["type"] not in GATE, f"{case}: {answer.text}"
        assert answer.status_code < 500, f"{case}: {answer.text}"


@pytest.fixture
async def guarded(config: Settings) -> AsyncIterator[Client]:
    """The API where sign-up asks for an operator, and streams are short."""
    async with serving(replace(config, signup="operator", stream_limit=0.3)) as api:
        yield api


@pytest.mark.timeout(240)
@pytest.mark.parametrize("meant", ["own", "foreign", "unknown", "suspended", "pending"])
async def test_each_route_answers_each_token_as_documented(
    guarded: Client, api: Client, config: Settings, operator_token: str, owner: asyncpg.Connection, meant: str
) -> None:
    async with provisioning(config):
        bakery = await sign_up(api, "bakery", admin=ADMIN)
        await sign_up(api, "florist")
    if meant in STATES:
        assert (await guarded.get("/users", headers=bakery.headers)).status_code == 200
        await owner.execute("UPDATE shared.tenants SET status = $1 WHERE slug = 'bakery'", meant)
        await until(guarded, bakery.headers, *STATES[meant])
    checked = 0
    for method, path, rule in routes(config):
        if rule.who == "public":
            continue
        for kind in ("key", "user", "operator"):
            token = {"key": bakery.key, "operator": operator_token}.get(kind) or await fresh_login(
                owner, bakery
            )
            headers = {
                "tenant": {"foreign": "florist", "unknown": "nobody"}.get(meant, "bakery"),
                "authorization": f"Bearer {token}",
            }
            where = path_for(path, rule, kind, meant)
            body: dict[str, str] | None = {} if method in {"POST", "PATCH", "PUT"} else None
            answer = await guarded.request(method, where, headers=headers, json=body)
            check(answer, expected(rule, kind, meant), f"{kind} {method} {where}")
            checked += 1
    assert checked >= 150


async def fresh_login(owner: asyncpg.Connection, tenant: Tenant) -> str:
    """Return a fresh log-in of the administrator, since one of the routes ends it."""
    token = tokens.mint("user")
    await tokens.store(owner, token, name="log-in", tenant_id=UUID(tenant.id), user_id=1)
    return token.text


async def test_the_matrix_can_fail(api: Client, provisioner: Service) -> None:
    bakery = await sign_up(api, "bakery")
    waiting = await requested(api, "waiting")
    own = await api.get("/users", headers=bakery.headers)
    with pytest.raises(AssertionError):
        check(own, FORBIDDEN, "an open door")
    foreign = await api.get("/users", headers={**waiting.headers, "tenant": "bakery"})
    with pytest.raises(AssertionError):
        check(foreign, None, "a closed one")
