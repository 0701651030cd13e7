"""The provisioner dies at any point: after a restart there is exactly one schema, and it is active."""

import asyncio
import shutil
import signal
from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

from db.migrations.lineages import lineage
from db.settings import PROJECT, Settings
from tests.processes import a_provisioner, running
from tests.support import (
    Client,
    Tenant,
    becomes,
    eventually,
    problem,
    provisioning,
    requested,
    serving,
    sign_up,
    status,
)

pytestmark = pytest.mark.timeout(180)


async def in_the_middle(owner: asyncpg.Connection) -> bool:
    """Say whether a provisioning transaction has built its schema and stands before a lock."""
    return bool(
        await owner.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND wait_event_type = 'Lock' AND query LIKE '%pending_admins%'"
        )
    )


async def test_killed_in_the_middle_of_provisioning(delivery: Settings, owner: asyncpg.Connection) -> None:
    blocker = await asyncpg.connect(delivery.require("owner_database_url"))
    async with serving(delivery) as api:
        async with running(a_provisioner(delivery)) as first, blocker.transaction():
            # The sign-up writes the table that is locked next, so it comes first; the command waits for
            # the provisioner's start.
            tenant = await requested(api, "bakery")
            await blocker.execute("LOCK TABLE shared.pending_admins IN ACCESS EXCLUSIVE MODE")
            await eventually(lambda: in_the_middle(owner), within=60, what="provisioning in the middle")
            assert await status(api, tenant) == "provisioning"
            await asyncio.to_thread(first.kill)
            assert first.exit_code == -signal.SIGKILL
        await blocker.close()
        schema = await owner.fetchval("SELECT schema_name FROM shared.tenants")

        async def rolled_back() -> bool:
            return await owner.fetchval("SELECT to_regnamespace($1)", schema) is None

        await eventually(rolled_back, what="the half-built schema gone")
        async with running(a_provisioner(delivery)):
            await becomes(api, tenant, "active", within=60)
    assert await owner.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname ~ '^t_[a-z2-7]{16}$'") == 1
    assert await owner.fetchval("SELECT count(*) FROM shared.messages WHERE type = 'tenant.provisioned'") == 1


async def test_stopped_under_load_it_finishes_or_gives_back(
    delivery: Settings, owner: asyncpg.Connection
) -> None:
    async with serving(delivery) as api:
        tenants = [await requested(api, f"shop{n}") for n in range(12)]
        async with running(a_provisioner(delivery)) as first:

            async def some_are_done() -> bool:
                return bool(
                    await owner.fetchval("SELECT count(*) FROM shared.tenants WHERE status = 'active'")
                )

            await eventually(some_are_done, within=40, what="the first active")
            await asyncio.to_thread(first.stop)
            assert first.exit_code == 0
        for row in await owner.fetch("SELECT status, attempts FROM shared.messages WHERE kind = 'command'"):
            assert row["attempts"] <= 1
        async with running(a_provisioner(delivery)):
            for tenant in tenants:
                await becomes(api, tenant, "active", within=60)


async def test_two_provisioners_share_the_work(delivery: Settings, owner: asyncpg.Connection) -> None:
    async with serving(delivery) as api, provisioning(delivery), provisioning(delivery):
        tenants = await asyncio.gather(*(requested(api, f"shop{n}") for n in range(10)))
        for tenant in tenants:
            await becomes(api, tenant, "active", within=40)
    done = "SELECT count(*) FROM shared.messages WHERE type = 'tenant.provisioned'"
    assert await owner.fetchval(done) == 10


async def test_postgres_gone_for_a_moment_costs_no_attempt(
    delivery: Settings, owner: asyncpg.Connection, superuser: asyncpg.Connection
) -> None:
    async with serving(delivery) as api, provisioning(delivery):
        await sign_up(api, "before")
        await superuser.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await eventually(lambda: closed(owner), what="connections cut")
        tenant = await insisting(api, "after")
        await becomes(api, tenant, "active", within=40)
    attempts = await superuser.fetchval("SELECT max(attempts) FROM shared.messages WHERE kind = 'command'")
    assert attempts == 1


async def closed(connection: asyncpg.Connection) -> bool:
    return connection.is_closed()


async def insisting(api: Client, slug: str) -> Tenant:
    """Sign up, once more where the answer was 503 because connections had just been cut."""

    async def probe() -> Tenant:
        answer = await api.post("/tenants", json={"name": slug, "slug": slug})
        assert answer.status_code == 202, answer.text
        return Tenant(answer.json()["id"], slug, answer.json()["api_key"])

    return await eventually(probe, what="a sign-up")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """The project's revisions and one more, which fails."""
    shutil.copytree(PROJECT / "alembic", tmp_path / "alembic")
    shutil.copy(PROJECT / "alembic.ini", tmp_path / "alembic.ini")
    head = lineage("tenant", PROJECT / "alembic.ini").head
    (tmp_path / "alembic" / "versions" / "tenant" / "bad.py").write_text(
        "from alembic import op\n"
        f"revision = 'bad000000000'\ndown_revision = {head!r}\ncompatible_from = {head!r}\n\n"
        "def upgrade():\n    op.execute('CREATE TABLE half_built (id int)')\n"
        "    op.execute('SELECT 1 / (SELECT count(*) FROM users)')\n\n"
        "def downgrade():\n    op.execute('DROP TABLE half_built')\n"
    )
    return tmp_path / "alembic.ini"


async def test_a_failing_migration_fails_its_tenant_alone(
    delivery: Settings, owner: asyncpg.Connection, broken: Path
) -> None:
    async with serving(delivery) as api:
        async with provisioning(delivery):
            served = await sign_up(api, "served")
        async with provisioning(replace(delivery, alembic_config=broken)):
            tenant = await requested(api, "unlucky")
            await becomes(api, tenant, "failed", within=40)
        schema = await owner.fetchval("SELECT schema_name FROM shared.tenants WHERE slug = 'unlucky'")
        assert await owner.fetchval("SELECT to_regnamespace($1)", schema) is None
        row = await owner.fetchrow("SELECT error_class FROM shared.messages WHERE status = 'parked'")
        assert row is not None
        assert row["error_class"] == "DivisionByZeroError"
        answer = await api.get("/users", headers=served.headers)
        assert answer.status_code == 200
        refused = problem(await api.get("/users", headers=tenant.headers), 503, "tenant-not-ready")
        assert refused["title"] == "Tenant not ready"
