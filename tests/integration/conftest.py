"""Fixtures of integration tests."""

import pytest

from tests.people import ADMIN, Person, log_in
from tests.support import Client, Service, Tenant, sign_up


@pytest.fixture
async def staffed(api: Client, provisioner: Service) -> Tenant:
    """An active tenant with an administrator, Ann."""
    return await sign_up(api, "bakery", admin=ADMIN)


@pytest.fixture
async def ann(api: Client, staffed: Tenant) -> Person:
    """The administrator of `staffed`, logged in."""
    return await log_in(api)


@pytest.fixture
def as_operator(operator_token: str) -> dict[str, str]:
    """What an operator sends with every request."""
    return {"authorization": f"Bearer {operator_token}"}
