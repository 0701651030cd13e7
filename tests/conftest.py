"""Fixtures: a private PostgreSQL and RabbitMQ for the run, and a migrated database for each test.

Nothing is mocked, and no server outside the run is used. A test gets only the fixtures that it names.
"""

import asyncio
import gc
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator

import asyncpg
import msgspec
import pytest
from argon2 import PasswordHasher

from api.tenant import passwords
from db import bootstrap
from db.local.servers.debian import unpack_rabbitmq
from db.local.servers.postgres import PostgresServer
from db.local.servers.rabbitmq import RabbitNode, get_installation
from db.settings import PROJECT, Settings
from provisioner import topology
from tests import leaks
from tests.databases import TEMPLATE, cloned, in_memory
from tests.people import ADMIN, Person, log_in
from tests.support import (
    APP_PASSWORD,
    BY_TEST,
    OWNER_PASSWORD,
    SIGNUP_PASSWORD,
    Client,
    Service,
    Tenant,
    provisioning,
    serving,
    sign_up,
)

# Keep Hypothesis's examples in the cache folder.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(PROJECT / ".cache" / "hypothesis"))

# The shell's settings must not affect the tests.
for name in ("DATABASE_URL", "OWNER_DATABASE_URL", "SUPERUSER_DATABASE_URL", "AMQP_URL", "SIGNUP"):
    os.environ.pop(name, None)


@pytest.fixture(scope="session", autouse=True)
def no_secret_in_what_is_written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Check at the end that neither the run nor its processes wrote a token, a password or a hash of one."""
    with leaks.none_in(tmp_path_factory.getbasetemp()):
        yield


@pytest.fixture(scope="session", autouse=True)
def cheap_hashes() -> Iterator[None]:
    """Hash passwords with argon2id's least memory in this process, since each takes a fifth of a second else.

    Other processes hash as a deployment does, and `test_passwords` holds what that is.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield


def pytest_collection_finish() -> None:
    """Leave what was imported out of the garbage collector's rounds, which take a tenth of the run else."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Search the output that pytest captured of each test for secrets."""
    for _, text in report.sections:
        leaks.look(text)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """Yield a PostgreSQL server for the run. Durability is off; a test that needs it starts its own server."""
    with in_memory(tmp_path_factory.mktemp("postgres")) as home:
        server = PostgresServer(
            home,
            settings={
                "fsync": "off",
                "synchronous_commit": "off",
                "full_page_writes": "off",
                "autovacuum": "off",
                "max_wal_size": "256MB",
            },
            log=leaks.output("postgres"),
        )
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="session")
def template(postgres: PostgresServer) -> bootstrap.Bootstrapped:
    """Bootstrap, as an operator would, the database that is cloned for each test."""
    url = postgres.superuser_url.rpartition("/")[0] + f"/{TEMPLATE}"
    return asyncio.run(bootstrap.bootstrap(url, owner_password=OWNER_PASSWORD, app_password=APP_PASSWORD))


@pytest.fixture
async def superuser_url(postgres: PostgresServer, template: bootstrap.Bootstrapped) -> AsyncIterator[str]:
    """Yield a superuser's address of a fresh clone of the template."""
    async with cloned(postgres.superuser_url) as url:
        yield url


@pytest.fixture
def config(superuser_url: str) -> Settings:
    """Return settings for the test's database, with short waits and delivery in process."""
    return Settings(
        database_url=bootstrap.with_login(superuser_url, "tenantry_app", APP_PASSWORD),
        owner_database_url=bootstrap.with_login(superuser_url, "tenantry_owner", OWNER_PASSWORD),
        superuser_database_url=superuser_url,
        signup="open",
        rate_limit_per_minute=0,
        login_rate_limit_per_minute=0,
        address_rate_limit_per_minute=0,
        log_format="console",
        relay_poll=0.5,
        heartbeat_interval=0.2,
        retry_base=0.05,
        retry_cap=0.5,
        publish_timeout=5,
    )


@pytest.fixture(scope="session")
def rabbit_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitNode]:
    """Yield a RabbitMQ node for the run, from an installed server or from unpacked packages."""
    home = tmp_path_factory.mktemp("rabbitmq")
    node = RabbitNode(
        home,
        get_installation() or unpack_rabbitmq(),
        log=leaks.output("rabbitmq"),
        signup_password=SIGNUP_PASSWORD,
    )
    node.start()
    yield node
    node.stop()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
async def rabbit(rabbit_node: RabbitNode) -> AsyncIterator[RabbitNode]:
    """Yield the running node; delete the provisioner's exchanges and queues after the test."""
    if not rabbit_node.alive:
        rabbit_node.start()
    yield rabbit_node
    if not rabbit_node.alive:
        rabbit_node.start()
    await topology_gone(rabbit_node.url)


async def topology_gone(url: str) -> None:
    """Delete all exchanges and queues that the provisioner declares."""
    import aio_pika

    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        for queue in topology.QUEUES:
            await channel.queue_delete(queue.name)
        for exchange in topology.EXCHANGES:
            await channel.exchange_delete(exchange)


@pytest.fixture
def rabbit_config(config: Settings, rabbit: RabbitNode) -> Settings:
    """Return `config` with RabbitMQ as its transport."""
    return msgspec.structs.replace(config, amqp_url=rabbit.url)


@pytest.fixture(params=["in-process", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def delivery(request: pytest.FixtureRequest, config: Settings) -> Settings:
    """Return `config` for each of the two transports in turn."""
    if request.param == "in-process":
        return config
    value: Settings = request.getfixturevalue("rabbit_config")
    return value


@pytest.fixture
async def api(config: Settings) -> AsyncIterator[Client]:
    """Yield a client of the API. No provisioner runs unless the test asks for one."""
    async with serving(config) as client:
        yield client


@pytest.fixture
async def provisioner(config: Settings) -> AsyncIterator[Service]:
    """Yield a running provisioner that delivers in process."""
    async with provisioning(config) as service:
        yield service


@pytest.fixture
def new_tenant(api: Client, provisioner: Service) -> Callable[..., "asyncio.Future[Tenant]"]:
    """Return a function that signs a tenant up and waits until it is active."""

    async def make(slug: str, **fields: object) -> Tenant:
        return await sign_up(api, slug, **fields)

    return make  # type: ignore[return-value]


@pytest.fixture
async def tenant(api: Client, provisioner: Service) -> Tenant:
    """Return an active tenant."""
    return await sign_up(api, "bakery")


@pytest.fixture
async def staffed(api: Client, provisioner: Service) -> Tenant:
    """An active tenant with an administrator, Ann."""
    return await sign_up(api, "bakery", admin=ADMIN)


@pytest.fixture
async def ann(api: Client, staffed: Tenant) -> Person:
    """The administrator of `staffed`, logged in."""
    return await log_in(api)


@pytest.fixture
async def owner(config: Settings) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection of the owner to the test's database."""
    connection = await asyncpg.connect(config.require("owner_database_url"))
    yield connection
    await connection.close()


@pytest.fixture
async def superuser(superuser_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection of a superuser to the test's database."""
    connection = await asyncpg.connect(superuser_url)
    yield connection
    await connection.close()


@pytest.fixture
async def app_login(config: Settings) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection of the API's login to the test's database."""
    connection = await asyncpg.connect(config.require("database_url"))
    yield connection
    await connection.close()


@pytest.fixture
async def operator_token(config: Settings) -> str:
    """Return a fresh operator's token."""
    return await bootstrap.mint_operator(config.require("owner_database_url"), "test", BY_TEST)


@pytest.fixture
def as_operator(operator_token: str) -> dict[str, str]:
    """What an operator sends with every request."""
    return {"authorization": f"Bearer {operator_token}"}
