"""Health: alive is not ready, and ready is not the broker."""

import asyncpg
from msgspec.structs import replace

from db.settings import Settings
from tests.support import Client, eventually, provisioning, serving


async def test_alive_without_anything_else(config: Settings) -> None:
    away = replace(config, database_url="postgresql://nobody@127.0.0.1:1/none", ready_timeout=1.0)
    async with serving(away) as api:
        assert (await api.get("/health/live")).json() == {"status": "ok"}
        answer = await api.get("/health/ready")
        assert answer.status_code == 503
        assert answer.json()["postgres"] == "down"


async def test_ready_is_degraded_until_a_provisioner_is_heard(config: Settings, api: Client) -> None:
    answer = await api.get("/health/ready")
    assert (answer.status_code, answer.json()["status"], answer.json()["broker"]) == (
        200,
        "degraded",
        "unknown",
    )
    async with provisioning(config):

        async def ok() -> bool:
            seen = (await api.get("/health/ready")).json()
            return (seen["status"], seen["broker"], seen["provisioners"]) == ("ok", "in-process", 1)

        await eventually(ok)

    async def gone() -> bool:
        return bool((await api.get("/health/ready")).json()["provisioners"] == 0)

    await eventually(gone, what="the heartbeat taken back")


async def test_not_ready_before_the_shared_revision_fits(
    config: Settings, api: Client, owner: asyncpg.Connection
) -> None:
    head = await owner.fetchval("SELECT version_num FROM shared.alembic_version")
    await owner.execute("UPDATE shared.alembic_version SET version_num = 'd6ba8c13303e'")
    answer = await api.get("/health/ready")
    assert (answer.status_code, answer.json()["shared_revision"]) == (503, "d6ba8c13303e")
    await owner.execute("UPDATE shared.alembic_version SET version_num = 'fffffffffff1'")
    assert (
        await api.get("/health/ready")
    ).status_code == 200  # newer than this release: left to its migration
    await owner.execute("UPDATE shared.alembic_version SET version_num = $1", head)
    assert (await api.get("/health/ready")).status_code == 200
