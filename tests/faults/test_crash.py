"""Processes that die during their work, or just after it."""

import asyncio
import shutil
from pathlib import Path

import asyncpg
import httpx
import pytest
from msgspec.structs import replace
from sqlalchemy import make_url

from db.migrations.lineages import lineage
from db.settings import PROJECT, Settings
from provisioner.handlers import provision
from tests.invariants import Healed
from tests.processes import Forked, an_api, answers, forked, running
from tests.proxy import Direction, proxied
from tests.support import becomes, eventually, one, provisioning, requested, serving, sign_up, status


def lineage_with(folder: Path, upgrade: str, *, running: str = "") -> Path:
    """Write the project's revisions and one more; return Alembic's configuration for them.

    Args:
        folder: the folder to write to.
        upgrade: what the revision does.
        running: what happens in place of a script's run in the provisioner that reads the revision.
    """
    stands_in = f"async def run_script(*_):\n    {running}\n\nprovision.run_script = run_script\n\n"
    shutil.copytree(PROJECT / "alembic", folder / "alembic")
    shutil.copy(PROJECT / "alembic.ini", folder / "alembic.ini")
    (folder / "alembic" / "versions" / "tenant" / "one_more.py").write_text(
        "import os\nfrom pathlib import Path\nfrom alembic import op\n"
        "from provisioner.handlers import provision\n"
        f"revision = 'onemore00000'\ndown_revision = {lineage('tenant', PROJECT / 'alembic.ini').head!r}\n"
        f"compatible_from = down_revision\n\n{stands_in if running else ''}"
        f"def upgrade():\n    {upgrade}\n\n"
        "def downgrade():\n    pass\n"
    )
    return folder / "alembic.ini"


@pytest.fixture
def deadly(tmp_path: Path) -> Path:
    """A lineage that kills the process that runs its script."""
    return lineage_with(tmp_path, "pass", running="os._exit(17)")


@pytest.mark.rabbitmq
async def test_a_command_that_kills_its_process_is_parked_at_the_limit(
    rabbit_config: Settings, owner: asyncpg.Connection, deadly: Path, healed: Healed
) -> None:
    async with serving(rabbit_config) as api:
        async with provisioning(rabbit_config):
            served = await sign_up(api, "served")
        tenant = await requested(api, "deadly")
        # Leases that end soon: each death leaves the event of the sign-up leased.
        config = replace(rabbit_config, alembic_config=deadly, relay_lease=1.0, republish_after=1.0)
        deaths = 0
        process = Forked(config)
        await process.start()

        async def parked() -> bool:
            """As a supervisor would, start it again whenever it is dead."""
            nonlocal deaths, process
            if not process.alive:
                assert await process.ended() == 17
                deaths += 1
                process = Forked(config)
                await process.start()
            return await status(api, tenant) == "failed"

        await eventually(parked, within=60, what="parked")
        await process.stop()
        assert deaths == rabbit_config.attempt_limit
        row = await one(owner, "SELECT attempts, error_class FROM shared.messages WHERE status = 'parked'")
        assert row["error_class"] == "crash_loop"
        assert (await api.get("/users", headers=served.headers)).status_code == 200
        async with provisioning(rabbit_config):
            await sign_up(api, "neighbour")
            await healed(amqp_url=rabbit_config.amqp_url)


@pytest.mark.rabbitmq
async def test_killed_in_the_middle_of_a_long_statement(
    rabbit_config: Settings, owner: asyncpg.Connection, tmp_path: Path, healed: Healed
) -> None:
    """PostgreSQL would run the statement to its end first, holding all of its locks, though its client is dead."""
    slow = lineage_with(tmp_path, "op.execute('SELECT pg_sleep(600)')")

    async def at_it() -> bool:
        sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        return bool(await owner.fetchval(sleeping))

    async with serving(rabbit_config) as api:
        async with forked(replace(rabbit_config, alembic_config=slow)) as process:
            tenant = await requested(api, "bakery")
            await eventually(at_it, what="the long statement")
            await process.kill()
        async with forked(rabbit_config):
            await becomes(api, tenant, "active", within=40)
            assert not await at_it()
            await healed(amqp_url=rabbit_config.amqp_url)


async def test_a_file_that_is_missing_is_no_absence_of_postgres(
    delivery: Settings, owner: asyncpg.Connection, healed: Healed
) -> None:
    """Both are errors of the system's; one is the command's own, and must not stop everybody else's."""

    async def reads_a_file(*_: object) -> None:
        Path("/missing").read_text()  # noqa: ASYNC240 - it is not there

    async with serving(delivery) as api:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(provision, "run_script", reads_a_file)
            async with provisioning(delivery):
                tenant = await requested(api, "unlucky")
                await becomes(api, tenant, "failed")
        row = await one(owner, "SELECT attempts, error_class FROM shared.messages WHERE status = 'parked'")
        assert tuple(row) == (delivery.attempt_limit, "FileNotFoundError")
        async with provisioning(delivery):
            await sign_up(api, "neighbour")
            await healed(amqp_url=delivery.amqp_url)


async def test_the_api_killed_after_the_commit_of_a_signup(
    config: Settings, owner: asyncpg.Connection, healed: Healed
) -> None:
    """Its client never got an answer, asks again under the same Idempotency-Key, and has one tenant."""
    committed = asyncio.Event()
    target = make_url(config.require("database_url"))
    assert target.port is not None
    async with proxied(target.port) as proxy:
        inserted = False

        def lose_the_answer(direction: Direction, data: bytes) -> None:
            nonlocal inserted
            inserted = inserted or b"INSERT INTO shared.tenants" in data
            if direction == "up" and inserted and b"COMMIT" in data:
                proxy.mute("down")
                committed.set()

        proxy.on_data = lose_the_answer
        process, base = an_api(replace(config, database_url=proxy.through(config.require("database_url"))))
        body = {"name": "Bakery", "slug": "bakery"}
        key = {"idempotency-key": "0123456789-0123456789-abc"}
        async with running(process), httpx.AsyncClient(base_url=base, timeout=30) as client:
            await answers(f"{base}/health/live")
            request = asyncio.create_task(client.post("/tenants", json=body, headers=key))
            await asyncio.wait_for(committed.wait(), 20)

            async def there() -> bool:
                return bool(await owner.fetchval("SELECT count(*) FROM shared.tenants"))

            await eventually(there, what="the committed sign-up")
            assert not request.done()
            await asyncio.to_thread(process.kill)
            with pytest.raises(httpx.TransportError):
                await request
    async with serving(config) as api, provisioning(config):
        again = await api.post("/tenants", json=body, headers=key)
        assert again.status_code == 202, again.text
        bearer = {"authorization": f"Bearer {again.json()['api_key']}"}

        async def active() -> bool:
            return bool((await api.get("/tenants/bakery", headers=bearer)).json()["status"] == "active")

        await eventually(active, what="the tenant active")
        await healed()
        assert await owner.fetchval("SELECT count(*) FROM shared.tenants") == 1


@pytest.mark.rabbitmq
async def test_killed_while_it_has_many_in_hand(
    rabbit_config: Settings, owner: asyncpg.Connection, healed: Healed
) -> None:
    config = replace(rabbit_config, relay_lease=1.0, republish_after=2.0)
    async with serving(config) as api:
        tenants = [await requested(api, f"shop{number}") for number in range(15)]
        for wanted in (2, 6):
            async with forked(config) as process:

                async def some(wanted: int = wanted) -> bool:
                    done = "SELECT count(*) FROM shared.tenants WHERE status = 'active'"
                    return bool(await owner.fetchval(done) >= wanted)

                await eventually(some, what="some active")
                await process.kill()
        async with forked(config):
            for tenant in tenants:
                await becomes(api, tenant, "active", within=40)
            await healed(amqp_url=config.amqp_url)
