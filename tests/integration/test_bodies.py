"""Bodies, and the lines of a request about them: what is no JSON, comes for no host, or ends too early."""

from typing import Any

import pytest
import structlog
from litestar import Litestar

from api.app import create_app
from db.settings import Settings
from tests.support import Client, Tenant, held, problem

JSON = b'{"email": "a@example.com"}'


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": ""},
        {"content-type": "text/plain"},
        {"content-type": "text/json"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/vnd.api+json"},
        {"content-type": "application/json, application/json"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
async def test_a_body_that_does_not_say_that_it_is_json_is_415(
    api: Client, tenant: Tenant, headers: dict[str, str]
) -> None:
    sent = {**tenant.headers, **headers}
    problem(await api.post("/users", headers=sent, content=JSON), 415, "unsupported-media-type")
    login = b'{"email": "a@example.com", "password": "x"}'
    problem(await api.post("/auth/login", headers=headers, content=login), 415, "unsupported-media-type")


async def test_two_content_types_are_415(api: Client, tenant: Tenant) -> None:
    headers = [*tenant.headers.items(), ("content-type", "application/json"), ("content-type", "text/plain")]
    problem(await api.post("/users", headers=headers, content=JSON), 415, "unsupported-media-type")


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/json"},
        {"content-type": "Application/JSON ; charset=utf-8", "content-encoding": "identity"},
    ],
)
async def test_json_with_parameters_is_json(api: Client, tenant: Tenant, headers: dict[str, str]) -> None:
    answer = await api.post("/users", headers={**tenant.headers, **headers}, content=JSON)
    assert answer.status_code == 201


async def test_no_body_needs_no_content_type(
    api: Client, as_operator: dict[str, str], tenant: Tenant
) -> None:
    assert (await api.post(f"/cc/tenants/{tenant.slug}/suspend", headers=as_operator)).status_code == 200
    problem(await api.post("/auth/login"), 400, "validation")


@pytest.mark.parametrize(
    ("headers", "version", "status"),
    [
        ([], "1.1", 400),
        ([(b"host", b"a.example"), (b"host", b"a.example")], "1.1", 400),
        ([(b"host", b"a.example"), (b"host", b"b.example")], "2", 400),
        ([(b"host", b"a.example")], "1.1", 200),
        ([], "2", 200),
        ([], "1.0", 200),
    ],
)
async def test_a_request_names_one_host(config: Settings, headers: Any, version: str, status: int) -> None:
    app = create_app(config)
    async with held(app.lifespan()):
        sent = await asked(app, "GET", "/health/live", headers, [], version)
    assert sent[0]["status"] == status
    assert status == 200 or b"/problems/malformed" in sent[1]["body"]


async def test_a_client_that_goes_in_mid_body_is_no_error(config: Settings) -> None:
    app = create_app(config)
    headers = [(b"host", b"a.example"), (b"content-type", b"application/json"), (b"content-length", b"100")]
    part = {"type": "http.request", "body": b'{"email": ', "more_body": True}
    with structlog.testing.capture_logs() as logged:
        async with held(app.lifespan()):
            sent = await asked(app, "POST", "/auth/login", headers, [part])
    assert sent[0]["status"] == 400
    assert [entry for entry in logged if entry["log_level"] in {"error", "critical"}] == []


async def asked(
    app: Litestar, method: str, path: str, headers: Any, parts: list[Any], version: str = "1.1"
) -> list[Any]:
    """Send a request as a server would, and go when its parts are read; return what is answered."""
    sent: list[Any] = []

    async def receive() -> Any:
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": version,
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "scheme": "http",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    return sent
