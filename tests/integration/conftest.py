"""Fixtures of the integration tests."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from argon2 import PasswordHasher

from api.tenant import passwords
from db import bootstrap
from db.local.servers.postgres import PostgresServer
from db.migrations.lineages import lineage
from db.session.tenancy import Database
from db.settings import Settings
from provisioner.delivery import Deliveries
from provisioner.handlers.provision import ProvisionHandler
from tests import columns
from tests.commands import POLICY
from tests.databases import cloned
from tests.isolation import Resident, settle, undone
from tests.messages import blocked
from tests.migrations import release
from tests.operators import Operator
from tests.support import OWNER_PASSWORD, Client, Service, Tenant, becomes, serving


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def owner_url(postgres: PostgresServer, template: bootstrap.Bootstrapped) -> AsyncIterator[str]:
    """Yield the owner's address of a database that a module's tests share, each with schemas of its own."""
    async with cloned(postgres.superuser_url) as url:
        yield bootstrap.with_login(url, "tenantry_owner", OWNER_PASSWORD)


@pytest.fixture
async def pool(config: Settings) -> AsyncIterator[asyncpg.Pool]:
    """Yield the owner's connections, for deliveries without a provisioner's process."""
    async with asyncpg.create_pool(config.require("owner_database_url"), min_size=1, max_size=12) as pool:
        yield pool


@pytest.fixture
def provision(config: Settings) -> ProvisionHandler:
    """Return the handler that provisions."""
    return ProvisionHandler(lineage("tenant", config.alembic_config))


@pytest.fixture
def consumer(pool: asyncpg.Pool, provision: ProvisionHandler) -> Deliveries:
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


@pytest.fixture
async def residents(owner: asyncpg.Connection, config: Settings) -> list[Resident]:
    """Three tenants. They all have the same tables, so one more would add nothing but time."""
    return await settle(owner, config, ["bakery", "florist", "cooper"])


@pytest.fixture
async def session(app_login: asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
    """The API login's session, in a transaction that leaves nothing behind."""
    async with undone(app_login):
        yield app_login


@pytest.fixture(params=[True, False], ids=["pipelined", "plain"])
def pipeline(request: pytest.FixtureRequest) -> bool:
    """Whether a tenant's role and its statement go in one message."""
    return bool(request.param)


@pytest.fixture
async def single(config: Settings, pipeline: bool) -> AsyncIterator[Database]:
    """A database with one connection, which everything must share."""
    database = await Database.connect(
        config.require("database_url"), size=1, acquire_timeout=2, pipeline=pipeline
    )
    yield database
    await database.close()


@pytest.fixture
async def several(config: Settings, pipeline: bool) -> AsyncIterator[Database]:
    """A database with three connections."""
    database = await Database.connect(
        config.require("database_url"), size=3, acquire_timeout=30, pipeline=pipeline
    )
    yield database
    await database.close()


@pytest.fixture
def slow_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hash as a deployment does, the dummy for unknown e-mails too."""
    monkeypatch.setattr(passwords, "HASHER", PasswordHasher.from_parameters(passwords.PARAMETERS))
    passwords._nobodys.cache_clear()
    yield
    passwords._nobodys.cache_clear()


@pytest.fixture
def released(config: Settings, tmp_path: Path) -> Settings:
    """Settings of a release whose newest revision makes a table with columns of every kind."""
    return release(config, tmp_path, columns.REVISION)


@pytest.fixture
async def things(released: Settings) -> AsyncIterator[Client]:
    """The API with that table's routes."""
    async with serving(released, columns.ThingController) as client:
        yield client


@pytest.fixture
async def resident(owner: asyncpg.Connection, released: Settings) -> Resident:
    """A tenant with that table, made by the revision as it is rendered for every tenant."""
    (one,) = await settle(owner, released, ["bakery"])
    return one
