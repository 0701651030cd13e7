"""The OpenAPI document is kept: whatever is sent, no 5xx, and no answer that it does not describe."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation.case import Case
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from db.settings import Settings
from tests.processes import api_process
from tests.support import Service, Tenant, sign_up

pytestmark = pytest.mark.timeout(420)

Operation = APIOperation[Any, Any, Any, Any]

EXAMPLES = 12
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]
_ENDLESS = ("/events",)  # a stream is read in a test of its own


@pytest.fixture
async def address(config: Settings, provisioner: Service) -> AsyncIterator[str]:
    """The API's address."""
    async with api_process(config) as base:
        yield base


@pytest.fixture
async def visited(address: str) -> Tenant:
    """A tenant to send things to."""
    async with httpx.AsyncClient(base_url=address) as client:
        return await sign_up(client, "visited")


async def test_no_request_gets_an_answer_that_is_not_documented(
    address: str, visited: Tenant, operator_token: str
) -> None:
    load_all_checks()
    answered = await asyncio.to_thread(_explore, address, visited, operator_token)
    assert {200, 201, 202, 204, 400, 401, 403, 404} <= answered  # some requests were let in, and some refused


def _explore(address: str, tenant: Tenant, operator: str) -> set[int]:
    """Send every operation what Hypothesis makes of its schema, with a token that may call it."""
    answered: set[int] = set()
    failures: list[str] = []
    document = schemathesis.openapi.from_url(f"{address}/schema/openapi.json")
    callers: list[dict[str, str]] = [{}, tenant.headers, {"authorization": f"Bearer {operator}"}]
    for found in document.get_all_operations():
        operation = cast("Ok[Operation]", found).ok()
        if operation.path.endswith(_ENDLESS):
            continue
        for headers in callers:
            try:
                answered |= _send(operation, headers, tenant.slug)
            except Exception as error:  # noqa: BLE001 - all operations are tried before any is complained of
                failures.append(f"{operation.label}: {str(error)[:1500]}")
    assert not failures, "\n\n".join(failures)
    return answered


def _send(operation: Operation, headers: dict[str, str], slug: str) -> set[int]:
    """Send an operation's examples with the same headers, and return the statuses answered."""
    answered: set[int] = set()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def send(case: "Case[Any]") -> None:
        if case.path_parameters and "slug" in case.path_parameters:
            case.path_parameters["slug"] = slug
        response = case.call(headers=headers)
        answered.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    send()
    return answered
