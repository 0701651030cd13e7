"""Wrong requests of every kind get a documented problem, never a 500."""

from collections.abc import AsyncIterator

import pytest

from api.web.problems import KINDS
from tests.support import Client, Service, Tenant, problem, requested, sign_up


async def test_every_response_carries_a_request_id(api: Client) -> None:
    answers = [await api.get(path) for path in ("/health/live", "/nowhere", "/users", "/schema/openapi.json")]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 4


async def test_a_clients_own_request_id_is_kept_if_it_is_a_sane_one(api: Client) -> None:
    kept = await api.get("/nowhere", headers={"x-request-id": "trace-1234"})
    replaced = await api.get("/nowhere", headers={"x-request-id": "a b\tc"})
    assert kept.headers["x-request-id"] == kept.json()["request_id"] == "trace-1234"
    assert replaced.headers["x-request-id"] not in {"", "a b\tc"}


async def test_two_answers_of_one_kind_differ_in_instance_and_request_id_only(api: Client) -> None:
    bodies = [(await api.get(path)).json() for path in ("/nowhere", "/elsewhere")]
    for body in bodies:
        del body["instance"], body["request_id"]
    assert bodies[0] == bodies[1]


async def test_unknown_routes_and_methods(api: Client) -> None:
    problem(await api.get("/nowhere"), 404, "not-found")
    answer = await api.put("/health/live")
    problem(answer, 405, "method-not-allowed")
    assert "GET" in answer.headers["allow"]


async def test_problem_types_lead_to_their_description(api: Client) -> None:
    for kind in KINDS.values():
        answer = await api.get(kind.type)
        assert answer.status_code == 200
        assert answer.json()["status"] == kind.status
    problem(await api.get("/problems/none-such"), 404, "not-found")


async def test_no_token_and_bad_tokens_are_401(api: Client, tenant: Tenant) -> None:
    bad = [
        None,
        "",
        "Bearer",
        "Bearer x",
        f"Basic {tenant.key}",
        f"Bearer {tenant.key[:-1]}{'a' if tenant.key[-1] != 'a' else 'b'}",
        f"Bearer {tenant.key} {tenant.key}",
        "Bearer \xe4\xff",
    ]
    for value in bad:
        headers = {b"tenant": b"bakery"}
        if value is not None:
            headers[b"authorization"] = value.encode("latin-1")
        answer = await api.get("/users", headers=headers)
        problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert (await api.get("/users", headers=tenant.headers)).status_code == 200


async def test_the_tenant_header_is_needed_once_and_must_agree(
    api: Client, tenant: Tenant, provisioner: Service
) -> None:
    other = await sign_up(api, "florist")
    problem(await api.get("/users", headers=tenant.bearer), 400, "tenant-required")
    twice = [("authorization", f"Bearer {tenant.key}"), ("tenant", "bakery"), ("tenant", "bakery")]
    problem(await api.get("/users", headers=twice), 400, "tenant-ambiguous")
    foreign = problem(
        await api.get("/users", headers={**tenant.headers, "tenant": other.slug}), 403, "tenant-forbidden"
    )
    unknown = problem(
        await api.get("/users", headers={**tenant.headers, "tenant": "nobody"}), 403, "tenant-forbidden"
    )
    for body in (foreign, unknown):
        del body["request_id"]
    assert foreign == unknown
    assert (await api.get("/users", headers={**tenant.headers, "tenant": "BAKERY"})).status_code == 200


async def test_a_registered_host_names_the_tenant(api: Client, provisioner: Service) -> None:
    bakery = await sign_up(api, "bakery", host="bread.example.com")
    florist = await sign_up(api, "florist", host="roses.example.com")
    at_home = {**bakery.bearer, "host": "Bread.example.com:8000"}
    assert (await api.get("/users", headers=at_home)).status_code == 200
    abroad = {**bakery.headers, "host": "roses.example.com"}
    problem(await api.get("/users", headers=abroad), 403, "tenant-forbidden")
    assert (
        await api.get("/users", headers={**florist.headers, "host": "roses.example.com"})
    ).status_code == 200


async def test_a_tenant_that_is_not_provisioned_yet_is_503_with_a_hint_when(api: Client) -> None:
    tenant = await requested(api, "bakery")
    answer = await api.get("/users", headers=tenant.headers)
    problem(answer, 503, "tenant-not-ready")
    assert int(answer.headers["retry-after"]) > 0


WRONG_USERS = (
    b"",
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b'{"email": 1}',
    b'{"email": ""}',
    b'{"email": "a@example.com", "first_name": "a\\u0000b"}',
    b'{"email": "a@example.com", "first_name": "a\x00b"}',
    b'{"email": "a@example.com", "first_name": "\xff"}',
    b'{"email": "a@example.com", "first_name": "\\ud800"}',
    b'{"email": "a@example.com", "first_name": "' + b"x" * 101 + b'"}',
    b'{"email": "a@example.com", "is_active": "yes"}',
    b'{"email": "a@example.com", "user_role_id": 99999999}',
    b'{"email": "a@example.com", "user_role_id": 99999999999999999999}',
    b'{"email": "a@example.com", "user_role_id": -1}',
    b'{"email": "a@example.com", "colour": "red"}',
    b"[" * 100_000,
)
WRONG_KEYS = (
    b'{"name": "x", "expires_at": "tomorrow"}',
    b'{"name": "x", "expires_at": "2999-01-01T00:00:00"}',
    b'{"name": "x", "expires_at": "0001-01-01T00:00:00+14:00"}',
    b'{"name": "x", "expires_at": "9999-12-31T23:59:59-14:00"}',
    b'{"name": "x", "expires_at": "9999-12-31T23:59:59.999999Z"}',
    b'{"name": "x", "expires_at": "9999-12-31T00:00:00Z"}',
)


@pytest.mark.parametrize(
    ("path", "body"),
    [*(("/users", body) for body in WRONG_USERS), *(("/keys", body) for body in WRONG_KEYS)],
)
async def test_wrong_bodies_are_400(api: Client, tenant: Tenant, path: str, body: bytes) -> None:
    headers = {**tenant.headers, "content-type": "application/json"}
    before = (await api.get(path, headers=tenant.headers)).json()["items"]
    answer = await api.post(path, headers=headers, content=body)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    after = (await api.get(path, headers=tenant.headers)).json()["items"]
    assert [row["id"] for row in after] == [row["id"] for row in before]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=x", "cursor=W10", "cursor=%00"])
async def test_wrong_queries_are_400(api: Client, tenant: Tenant, query: str) -> None:
    problem(await api.get(f"/users?{query}", headers=tenant.headers), 400, "validation")


@pytest.mark.parametrize(
    "query",
    [
        "messages?status=colour",
        "messages?kind=perhaps",
        "messages?since=today",
        "messages?since=2026-01-01T00:00:00",
        "tenants?q=%00",
        "audit?since=today",
        *(
            f"{path}?since={since}"
            for path in ("audit", "messages", "messages/groups")
            for since in ("0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59.999999Z")
        ),
    ],
)
async def test_wrong_filters_are_400(api: Client, as_operator: dict[str, str], query: str) -> None:
    problem(await api.get(f"/cc/{query}", headers=as_operator), 400, "validation")


@pytest.mark.parametrize("path", ["/users/0", "/users/99999999999999999999", "/users/-1", "/users/1%00"])
async def test_wrong_ids_are_refused_without_a_500(api: Client, tenant: Tenant, path: str) -> None:
    answer = await api.get(path, headers=tenant.headers)
    assert answer.status_code in {400, 404}
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_over_the_limit_is_413_however_it_is_sent(api: Client, tenant: Tenant) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"email": "'
        for _ in range(1100):
            yield b"x" * 1000
        yield b'"}'

    headers = {**tenant.headers, "content-type": "application/json"}
    whole = await api.post("/users", headers=headers, content=b'{"email": "' + b"x" * 1_100_000 + b'"}')
    problem(whole, 413, "body-too-large")
    problem(await api.post("/users", headers=headers, content=chunks()), 413, "body-too-large")
