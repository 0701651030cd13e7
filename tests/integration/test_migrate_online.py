"""``tenant.migrate`` to revisions that run online: on the tenant's data, in transactions of their own."""

import asyncio
from pathlib import Path

import asyncpg

from db.migrations.fingerprint import structure
from db.migrations.lineages import lineage
from db.migrations.online import Online
from db.migrations.render import render
from db.settings import Settings
from tests.migrations import (
    BROKEN,
    HEAD,
    ONLINE,
    SCRIPT,
    asked,
    command_for,
    deliveries,
    registered,
    release,
    revisions,
    settles,
    told,
)
from tests.operators import Operator
from tests.support import (
    Client,
    Service,
    Tenant,
    eventually,
    its_time_comes,
    one,
    provisioning,
    serving,
    sign_up,
)

PATIENT = """
online = True

def upgrade():
    op.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
    op.add_column("users", sa.Column("note", sa.Text()))

def upgrade_empty():
    op.add_column("users", sa.Column("note", sa.Text()))
"""


async def test_an_online_revision_sees_data_and_tells_of_each_revision_once(
    api: Client,
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    provisioner: Service,
    tmp_path: Path,
    operator_token: str,
) -> None:
    await api.post("/users", headers=tenant.headers, json={"email": "ann@example.com"})
    await provisioner.stop()
    newer = release(config, tmp_path, SCRIPT, ONLINE)
    schema = (await registered(owner, "bakery")).schema_name
    async with serving(newer) as newer_api, provisioning(newer):
        operator = Operator(newer_api, operator_token)
        await settles(owner, await asked(operator, "bakery"), "handled")
        assert await owner.fetchval(f"SELECT users FROM {schema}.counted") == 1
        assert await told(owner, "tenant.migrated") == ["r1", "r2"]
        assert await revisions(owner, "bakery") == ("r2", HEAD, "r2")
        assert await owner.fetchval(
            "SELECT has_table_privilege($1, $2, 'SELECT')", schema, f"{schema}.counted"
        )
        # The same structure as that of a tenant which starts there, though made in another way.
        await sign_up(newer_api, "florist")
        assert (await newer_api.get("/users", headers=tenant.headers)).status_code == 200
    other = (await registered(owner, "florist")).schema_name
    assert await structure(owner, schema) == await structure(owner, other)
    locks = await owner.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
    assert locks == 0


async def test_an_online_revision_that_fails_is_parked_and_keeps_what_went_before(
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    provisioner: Service,
    tmp_path: Path,
    operator_token: str,
) -> None:
    await provisioner.stop()
    newer = release(config, tmp_path, SCRIPT, BROKEN)
    async with serving(newer) as api, provisioning(newer):
        operator = Operator(api, operator_token)
        row = await settles(owner, await asked(operator, "bakery"), "parked")
        assert row["error_class"] == "UndefinedFunctionError"
        assert (await operator.sees("bakery"))["status"] == "active"
        assert (await api.get("/users", headers=tenant.headers)).status_code == 200
    assert await revisions(owner, "bakery") == ("r1", HEAD, "r1")
    assert await told(owner, "tenant.migrated") == ["r1"]
    assert await told(owner, "tenant.migration_failed") == ["r2"]


async def test_a_repeated_online_migration_finds_its_work_done(
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    pool: asyncpg.Pool,
    provisioner: Service,
    tmp_path: Path,
) -> None:
    await provisioner.stop()
    newer = release(config, tmp_path, ONLINE)
    for _ in range(2):
        message_id = await command_for(owner, "bakery", "r1")
        await deliveries(pool, newer).command(message_id, b"")
        await settles(owner, message_id, "handled")
    assert await told(owner, "tenant.migrated") == ["r1"]


async def test_an_online_migration_waits_its_turn_while_somebody_else_works_on_the_tenant(
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    pool: asyncpg.Pool,
    provisioner: Service,
    tmp_path: Path,
) -> None:
    await provisioner.stop()
    newer = release(config, tmp_path, ONLINE)
    message_id = await command_for(owner, "bakery", "r1")
    await owner.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", tenant.id)
    await deliveries(pool, newer).command(message_id, b"")
    row = await one(owner, "SELECT * FROM shared.messages WHERE id = $1", message_id)
    assert (row["status"], row["attempts"]) == ("pending", 0)
    await owner.execute("SELECT pg_advisory_unlock(hashtextextended($1, 0))", tenant.id)
    await its_time_comes(owner, message_id)
    await deliveries(pool, newer).command(message_id, b"")
    await settles(owner, message_id, "handled")


async def test_a_script_is_rendered_while_an_online_revision_waits_for_a_lock(
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    pool: asyncpg.Pool,
    provisioner: Service,
    tmp_path: Path,
) -> None:
    await provisioner.stop()
    newer = release(config, tmp_path, PATIENT)
    chain = lineage("tenant", newer.alembic_config)
    online = Online(config.require("owner_database_url"), chain, lock_timeout=20)
    schema = (await registered(owner, "bakery")).schema_name

    async def waiting() -> bool:
        return bool(await owner.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

    async with owner.transaction():
        await owner.execute(f"LOCK TABLE {schema}.users IN ACCESS SHARE MODE")
        upgrade = asyncio.create_task(online.upgrade(await registered(owner, "bakery"), "r1"))
        await eventually(waiting, what="an online revision that waits")
        assert "ADD COLUMN note" in render(chain, None, "r1").sql
        assert not upgrade.done()
    assert await upgrade
    assert await revisions(owner, "bakery") == ("r1", HEAD, "r1")
