"""PostgreSQL stops, restarts and dies: nothing is half built, and the API says what is wrong."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

from db import bootstrap
from db.local.servers.postgres import PostgresServer
from db.local.servers.rabbitmq import RabbitNode
from db.settings import Settings
from tests.invariants import Healed
from tests.support import (
    APP_PASSWORD,
    OWNER_PASSWORD,
    becomes,
    eventually,
    one,
    problem,
    provisioning,
    requested,
    serving,
    sign_up,
)

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def own_postgres(tmp_path: Path) -> AsyncIterator[PostgresServer]:
    """A server for this test alone, as durable as in production."""
    server = PostgresServer(tmp_path / "postgres")
    await asyncio.to_thread(server.start)
    yield server
    await asyncio.to_thread(server.stop)


@pytest.fixture(params=["in-process", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
async def own(request: pytest.FixtureRequest, own_postgres: PostgresServer) -> Settings:
    """Settings for that server, for each of the two transports in turn."""
    url = own_postgres.superuser_url.rpartition("/")[0] + "/tenantry"
    made = await bootstrap.bootstrap(url, owner_password=OWNER_PASSWORD, app_password=APP_PASSWORD)
    amqp_url = None
    if request.param == "rabbitmq":
        node: RabbitNode = request.getfixturevalue("rabbit_node")
        amqp_url = node.url
        from tests.conftest import topology_gone

        await topology_gone(node.url)
    return Settings(
        database_url=made.app_url,
        owner_database_url=made.owner_url,
        amqp_url=amqp_url,
        signup="open",
        rate_limit_per_minute=0,
        address_rate_limit_per_minute=0,
        log_format="console",
        relay_poll=0.5,
        relay_lease=1.0,
        heartbeat_interval=0.2,
        retry_base=0.05,
        retry_cap=0.5,
        acquire_timeout=1.0,
        publish_timeout=5,
    )


async def test_stopped_and_started_again(own: Settings, own_postgres: PostgresServer) -> None:
    async with serving(own) as api, provisioning(own):
        before = await sign_up(api, "before")
        await asyncio.to_thread(own_postgres.stop)
        assert not own_postgres.alive
        for answer in (
            await api.post("/tenants", json={"name": "During", "slug": "during"}),
            await api.get("/users", headers=before.headers),
            await api.get("/tenants/before", headers=before.bearer),
        ):
            assert problem(answer, 503, "unavailable")["title"] == "Unavailable"
            assert int(answer.headers["retry-after"]) > 0
        assert (await api.get("/health/ready")).status_code == 503
        assert (await api.get("/health/live")).status_code == 200
        await asyncio.to_thread(own_postgres.start)

        async def served() -> bool:
            return (await api.get("/users", headers=before.headers)).status_code == 200

        await eventually(served, what="requests served again")
        assert (await api.get("/health/ready")).status_code == 200
        await sign_up(api, "after")
        await Healed(own)(amqp_url=own.amqp_url)


async def test_killed_in_the_middle_of_the_ddl(own: Settings, own_postgres: PostgresServer) -> None:
    config = replace(own, migration_lock_timeout=30.0)
    async with serving(config) as api, provisioning(config):
        await sign_up(api, "before")
        blocker = await asyncpg.connect(own.require("owner_database_url"))
        witness = await asyncpg.connect(own.require("owner_database_url"))
        await blocker.execute("BEGIN")
        # The last table that provisioning writes before it says that it is done.
        await blocker.execute("LOCK TABLE shared.pending_admins IN SHARE MODE")
        tenants = [await requested(api, "first"), await requested(api, "second")]

        async def in_the_middle() -> bool:
            return bool(
                await witness.fetchval(
                    "SELECT count(*) = 2 FROM pg_stat_activity"
                    " WHERE wait_event_type = 'Lock' AND query LIKE '%pending_admins%'"
                )
            )

        await eventually(in_the_middle, what="DDL in the middle")
        await asyncio.to_thread(own_postgres.kill)
        assert not own_postgres.alive
        blocker.terminate()
        witness.terminate()
        await asyncio.to_thread(own_postgres.start)
        for tenant in tenants:
            await becomes(api, tenant, "active", within=40)
        await Healed(own)(amqp_url=own.amqp_url)
    owner = await asyncpg.connect(own.require("owner_database_url"))
    row = await one(owner, "SELECT max(attempts) AS most FROM shared.messages WHERE kind = 'command'")
    await owner.close()
    assert row["most"] == 1  # the attempts lost while it was away were given back
