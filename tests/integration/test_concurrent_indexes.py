"""Indexes built beside writes: they wait for a dump without a time limit, and what failed can be repeated."""

import asyncio
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from db.audit import By
from db.control import messages
from db.migrations.lineages import lineage
from db.migrations.online import Online
from db.settings import Settings
from provisioner.transport import DatabaseAwayError
from tests.migrations import HEAD, command_for, deliveries, registered, release, revisions, settles
from tests.shell import alembic
from tests.support import Service, Tenant, eventually, its_time_comes, one

INDEX = """
from db.migrations.indexes import create_index_concurrently, drop_index_concurrently

online = True
idempotent = True

def upgrade():
    create_index_concurrently("ix_users_name", "users", ["first_name", sa.text("lower(last_name)")], unique=True)

def upgrade_empty():
    op.create_index("ix_users_name", "users", ["first_name", sa.text("lower(last_name)")], unique=True)

def downgrade():
    drop_index_concurrently("ix_users_name")
"""
COLUMN = """
online = True
idempotent = {idempotent}

def upgrade():
    op.add_column("users", sa.Column("note", sa.Text()))

def upgrade_empty():
    op.add_column("users", sa.Column("note", sa.Text()))
"""


async def is_valid(owner: asyncpg.Connection, schema: str) -> bool | None:
    """Return whether the index is valid, or None if there is none."""
    valid: bool | None = await owner.fetchval(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)", f"{schema}.ix_users_name"
    )
    return valid


async def test_a_build_waits_for_an_open_snapshot_longer_than_any_lock_timeout(
    config: Settings, tenant: Tenant, owner: asyncpg.Connection, provisioner: Service, tmp_path: Path
) -> None:
    await provisioner.stop()
    newer = release(config, tmp_path, INDEX)
    online = Online(
        config.require("owner_database_url"), lineage("tenant", newer.alembic_config), lock_timeout=0.1
    )
    bakery = await registered(owner, "bakery")
    dump = await asyncpg.connect(config.superuser_database_url)

    async def waits() -> bool:
        return bool(
            await owner.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE UNIQUE INDEX CONCURRENTLY%'"
                " AND wait_event_type = 'Lock' AND now() - query_start > interval '0.5 s'"
            )
        )

    async with dump.transaction(isolation="repeatable_read"):
        await dump.fetch(f"SELECT FROM {bakery.schema_name}.users")
        upgrade = asyncio.create_task(online.upgrade(bakery, "r1"))
        await eventually(waits, what="a build that waits five times its lock time-out")
        assert not upgrade.done()
    await dump.close()
    assert await upgrade
    assert await is_valid(owner, bakery.schema_name)
    assert (await revisions(owner, "bakery"))[::2] == ("r1", "r1")


async def test_an_invalid_leftover_is_dropped_and_the_build_repeated(
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    pool: asyncpg.Pool,
    provisioner: Service,
    tmp_path: Path,
) -> None:
    await provisioner.stop()
    newer = release(config, tmp_path, INDEX)
    schema = (await registered(owner, "bakery")).schema_name
    role = await owner.fetchval(f"SELECT min(id) FROM {schema}.roles")
    await owner.execute(
        f"INSERT INTO {schema}.users (email, first_name, last_name, user_role_id)"
        " SELECT n || '@example.com', 'a', 'b', $1 FROM generate_series(1, 2) n",
        role,
    )
    message_id = await command_for(owner, "bakery", "r1")
    await deliveries(pool, newer).command(message_id, b"")
    row = await settles(owner, message_id, "parked")
    assert row["error_class"] == "UniqueViolationError"
    assert await is_valid(owner, schema) is False
    await owner.execute(f"DELETE FROM {schema}.users WHERE email = '1@example.com'")
    message_id = await command_for(owner, "bakery", "r1")
    await deliveries(pool, newer).command(message_id, b"")
    await settles(owner, message_id, "handled")
    assert await is_valid(owner, schema)
    ini = ("-c", str(newer.alembic_config))
    await alembic(newer, *ini, "-x", "tenant=bakery", "downgrade", "-1")
    assert await is_valid(owner, schema) is None
    await alembic(newer, *ini, "-x", "tenant=bakery", "upgrade", "head")
    assert await is_valid(owner, schema)


@pytest.mark.parametrize("idempotent", [True, False])
async def test_only_an_idempotent_revision_is_tried_again(
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    pool: asyncpg.Pool,
    provisioner: Service,
    tmp_path: Path,
    idempotent: bool,
) -> None:
    await provisioner.stop()
    newer = release(config, tmp_path, COLUMN.format(idempotent=idempotent))
    schema = (await registered(owner, "bakery")).schema_name
    message_id = await command_for(owner, "bakery", "r1")
    async with owner.transaction():
        await owner.execute(f"LOCK TABLE {schema}.users IN ACCESS SHARE MODE")
        await deliveries(pool, newer).command(message_id, b"")
    row = await one(owner, "SELECT * FROM shared.messages WHERE id = $1", message_id)
    assert "lock timeout" in row["last_error"]
    if not idempotent:
        assert (row["status"], row["error_class"]) == ("parked", "NotRepeatableError")
        assert "revision r1 failed, and is not idempotent" in row["last_error"]
        assert (await revisions(owner, "bakery"))[::2] == (HEAD, HEAD)
        return
    assert (row["status"], row["attempts"]) == ("pending", 1)
    await its_time_comes(owner, message_id)
    await deliveries(pool, newer).command(message_id, b"")
    await settles(owner, message_id, "handled")


async def test_a_run_that_was_cut_short_is_not_repeated_unless_it_can_be(
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    superuser: asyncpg.Connection,
    pool: asyncpg.Pool,
    provisioner: Service,
    tmp_path: Path,
) -> None:
    """PostgreSQL ends the session in the middle of the revision, so nobody hears how far it came."""
    await provisioner.stop()
    newer = release(config, tmp_path, COLUMN.format(idempotent=False))
    schema = (await registered(owner, "bakery")).schema_name
    message_id = await command_for(owner, "bakery", "r1")

    async def ended() -> bool:
        return bool(
            await superuser.fetchval(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query LIKE 'ALTER TABLE users ADD COLUMN note%' AND wait_event_type = 'Lock'"
            )
        )

    async with owner.transaction():
        await owner.execute(f"LOCK TABLE {schema}.users IN ACCESS SHARE MODE")
        attempt = asyncio.create_task(deliveries(pool, newer).command(message_id, b""))
        await eventually(ended, what="a session that is ended")
        with pytest.raises(DatabaseAwayError):
            await attempt
    row = await one(owner, "SELECT * FROM shared.messages WHERE id = $1", message_id)
    assert (row["status"], row["error_class"]) == ("published", "OnlineRunBegun")
    await deliveries(pool, newer).command(message_id, b"")
    row = await settles(owner, message_id, "parked")
    assert row["error_class"] == "NotRepeatableError"
    assert "revision r1 was cut short" in row["last_error"]
    async with owner.transaction():
        await messages.replay_one(owner, UUID(message_id), By("test", None, "looked"))
    await deliveries(pool, newer).command(message_id, b"")
    row = await settles(owner, message_id, "handled")
    assert row["error_class"] != "OnlineRunBegun"
