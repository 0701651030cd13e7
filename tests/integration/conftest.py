"""Fixtures of the integration tests."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from db.migrations.lineage import lineage
from db.settings import Settings
from provisioner.delivery import Deliveries
from provisioner.handlers.provision import Provision
from tests.commands import POLICY
from tests.messages import blocked
from tests.operators import Operator
from tests.support import Client, Service, Tenant, becomes


@pytest.fixture
async def pool(config: Settings) -> AsyncIterator[asyncpg.Pool]:
    """Yield the owner's connections, for deliveries without a provisioner's process."""
    async with asyncpg.create_pool(config.require("owner_database_url"), min_size=1, max_size=12) as pool:
        yield pool


@pytest.fixture
def provision(config: Settings) -> Provision:
    """Return the handler that provisions."""
    return Provision(lineage("tenant", config.alembic_config))


@pytest.fixture
def consumer(pool: asyncpg.Pool, provision: Provision) -> Deliveries:
    """Return a consumer of deliveries that knows provisioning alone."""
    return Deliveries(pool, {"tenant.provision": provision}, POLICY)


@pytest.fixture
async def failed(api: Client, owner: asyncpg.Connection, provisioner: Service) -> Tenant:
    """A tenant that could not be provisioned."""
    await provisioner.stop()
    tenant = await blocked(api, owner, "bakery")
    await provisioner.start()
    await becomes(api, tenant, "failed")
    return tenant


@pytest.fixture
def operator(api: Client, operator_token: str) -> Operator:
    """An operator of the test's API."""
    return Operator(api, operator_token)
