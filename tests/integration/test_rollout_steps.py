"""Steps of a rollout cost the same however many tenants it has."""

from pathlib import Path
from uuid import UUID

import asyncpg

from db.control import rollout_steps, waves
from db.control.rollout_script import Scripts
from db.migrations.lineages import lineage
from db.settings import Settings
from tests.migrations import SCRIPT, registered, release
from tests.rollouts import begun, shops

MANY = 3_000
AT_ONCE = 32


async def read(connection: asyncpg.Connection) -> int:
    """Return how many tenants' steps were read by now."""
    await connection.execute("SELECT pg_stat_force_next_flush()")
    count: int = await connection.fetchval(
        "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'rollout_tenants'"
    )
    return count


async def many(connection: asyncpg.Connection, rollout_id: UUID) -> None:
    """Add tenants that wait in a rollout's first wave."""
    await connection.execute(
        "INSERT INTO shared.rollout_tenants (rollout_id, tenant_id, wave, status)"
        " SELECT $1, gen_random_uuid(), 0, 'waiting' FROM generate_series(1, $2)",
        rollout_id,
        MANY,
    )


async def test_a_step_reads_its_own_tenants_alone(
    config: Settings, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    await shops(config, 1)
    chain = lineage("tenant", release(config, tmp_path, SCRIPT).alembic_config)
    tenant = await registered(owner, "shop000000")
    rollout_id = await begun(owner, chain)
    await many(owner, UUID(int=1))
    await owner.execute("VACUUM ANALYZE shared.rollout_tenants")
    await many(owner, rollout_id)  # of which PostgreSQL knows nothing
    work = await waves.get(owner, rollout_id)

    before = await read(owner)
    await rollout_steps.claim(owner, work, after=None, limit=AT_ONCE)
    assert 0 < await read(owner) - before <= 4 * AT_ONCE
    claimed = await owner.fetchval(
        "SELECT count(*) FROM shared.rollout_tenants WHERE rollout_id = $1 AND status = 'running'", rollout_id
    )
    assert claimed == AT_ONCE

    await owner.execute(
        "UPDATE shared.rollout_tenants SET status = 'running' WHERE tenant_id = $1", tenant.id
    )
    text = Scripts(chain, "r1", rollout_id, rollout_id, lock_timeout=1).text(tenant)
    assert text is not None
    before = await read(owner)
    assert await rollout_steps.is_open(owner, rollout_id, tenant.id)
    await owner.execute(text)
    assert 0 < await read(owner) - before <= 10
    assert (await registered(owner, "shop000000")).revision == "r1"
    assert not await rollout_steps.is_open(owner, rollout_id, tenant.id)
