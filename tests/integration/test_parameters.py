"""Parameters: each constraint that the OpenAPI document shows is kept."""

from collections.abc import Iterator
from typing import Any

import pytest
from litestar.openapi.spec import Parameter, Schema

from api.app import create_app
from db.settings import Settings
from tests.support import Client, Tenant, problem

_METHODS = ("get", "post", "put", "patch", "delete")
_PLACES = {
    "slug": "bakery",
    "host": "bread.example.com",
    "message_id": "00000000-0000-7000-8000-000000000000",
    "rollout_id": "00000000-0000-7000-8000-000000000000",
    "replay_id": "00000000-0000-7000-8000-000000000000",
}


def documented() -> Iterator[tuple[str, str, Parameter, Schema]]:
    """Yield method, path, parameter and schema of each parameter of a query or header."""
    for path, item in (create_app(Settings()).openapi_schema.paths or {}).items():
        for method in _METHODS:
            operation = getattr(item, method)
            for parameter in (operation.parameters or []) if operation else []:
                assert isinstance(parameter, Parameter)
                assert isinstance(parameter.schema, Schema)
                if parameter.param_in != "path":
                    yield method, path, parameter, parameter.schema


def outside(schema: Schema) -> Iterator[str]:
    """Yield values that break a constraint of a schema, one each."""
    if schema.maximum is not None:
        yield str(int(schema.maximum) + 1)
    if schema.minimum is not None:
        yield str(int(schema.minimum) - 1)
    if schema.max_length is not None:
        yield "x" * (schema.max_length + 1)
    if schema.min_length:
        yield "x" * (schema.min_length - 1)
    if schema.pattern is not None:
        yield "\0" * (schema.min_length or 1)
    if schema.enum is not None:
        yield "none-of-these"


def is_text(schema: Schema) -> bool:
    kinds = [schema, *(each for each in schema.one_of or [] if isinstance(each, Schema))]
    return any(each.type == "string" and each.format is None and each.enum is None for each in kinds)


def test_every_text_has_a_longest_length() -> None:
    found = [
        f"{method} {path} {parameter.name}"
        for method, path, parameter, schema in documented()
        if is_text(schema) and schema.enum is None and schema.max_length is None
    ]
    assert found == []


async def test_every_constraint_is_kept(api: Client, tenant: Tenant, as_operator: dict[str, str]) -> None:
    tried = set()
    for method, path, parameter, schema in documented():
        for value in outside(schema):
            tried.add(parameter.name)
            headers: dict[str, str] = as_operator if path.startswith("/cc") else tenant.headers
            sent: dict[str, Any] = {"headers": headers, "params": {parameter.name: value}}
            if parameter.param_in == "header":
                wrong = value.replace("\0", " ")  # the client would not send a NUL in a header
                sent = {"headers": {**headers, parameter.name: wrong}, "json": {"name": "Bakery"}}
            answer = await api.request(method, path.format_map(_PLACES), **sent)
            body = problem(answer, 400, "validation")
            assert [error["field"] for error in body["errors"]] != ["body"], (method, path, parameter.name)
    assert {"q", "limit", "cursor", "revision", "reason", "type", "tenant", "Idempotency-Key"} <= tried


@pytest.mark.parametrize("query", ["q", "revision"])
async def test_a_filter_of_nothing_narrows_nothing(
    api: Client, tenant: Tenant, as_operator: dict[str, str], query: str
) -> None:
    answer = await api.get("/cc/tenants", headers=as_operator, params={query: ""})
    assert [item["slug"] for item in answer.json()["items"]] == [tenant.slug]
