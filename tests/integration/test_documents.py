"""The OpenAPI document, and where it is shown."""

from litestar.routes import HTTPRoute

from api.app import create_app
from api.gate.rules import OPT, Rule
from db.settings import Settings
from tests.support import Client


async def test_scalar_and_swagger_are_public(api: Client) -> None:
    for path in ("/schema", "/schema/scalar", "/schema/swagger"):
        answer = await api.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")


async def test_every_operation_documents_its_problems(api: Client) -> None:
    document = (await api.get("/schema/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    listed = document["paths"]["/users"]["get"]
    assert {"200", "400", "401", "403", "500", "503"} <= set(listed["responses"])
    assert "application/problem+json" in listed["responses"]["403"]["content"]
    assert listed["security"] == [{"token": []}]
    assert "413" in document["paths"]["/users"]["post"]["responses"]


def test_every_route_declares_who_may_call_it(config: Settings) -> None:
    undeclared = [
        f"{method} {route.path}"
        for route in create_app(config).routes
        if isinstance(route, HTTPRoute)
        for handler, _ in route.route_handler_map.values()
        for method in handler.http_methods
        if method != "OPTIONS" and not isinstance(handler.opt.get(OPT), Rule)
    ]
    assert undeclared == []
