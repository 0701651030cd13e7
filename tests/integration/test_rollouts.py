"""Rollouts: a revision goes to all tenants in waves, halts by itself, goes on, and skips who is there already."""

from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

from db.settings import Settings
from tests.migrations import FAILING, HEAD, ONLINE, SCRIPT, release, revisions
from tests.operators import Operator
from tests.rollouts import Fleet, events, moved, shops, untouchable, waves
from tests.support import Client, Tenant, eventually, problem, provisioning, serving, sign_up

SHORT = """
def upgrade():
    op.execute("ALTER TABLE users ADD CONSTRAINT short CHECK (first_name IS NULL OR length(first_name) < 5)")
"""
FAILING_ONES = ("shop000040", "shop000090", "shop000140")


@pytest.fixture
def fleet(api: Client, as_operator: dict[str, str]) -> Fleet:
    return Fleet(api, as_operator)


async def schema(owner: asyncpg.Connection, slug: str) -> str:
    found: str = await owner.fetchval("SELECT schema_name FROM shared.tenants WHERE slug = $1", slug)
    return found


async def has_long_name(owner: asyncpg.Connection, slug: str, name: str = "Bartholomew") -> None:
    await owner.execute(f"UPDATE {await schema(owner, slug)}.users SET first_name = '{name}'")


@pytest.mark.timeout(240)
async def test_two_hundred_tenants_of_which_three_fail(
    config: Settings, owner: asyncpg.Connection, as_operator: dict[str, str], tmp_path: Path
) -> None:
    await shops(config, 200)
    for slug in FAILING_ONES:
        await has_long_name(owner, slug)
    newer = release(config, tmp_path, SHORT)
    async with serving(newer) as api, provisioning(newer):
        fleet = Fleet(api, as_operator)
        rollout_id = await fleet.begins(
            target="head", canary=["shop000007"], wave=40, max_failures=2, concurrency=3
        )
        assert await waves(owner, rollout_id) == [1, 40, 40, 40, 40, 39]
        halted = await fleet.becomes(rollout_id, "halted", within=60)
        assert halted["note"] == "3 failed, and at most 2 may"
        failed = await fleet.tenants(rollout_id, "failed")
        assert [each["slug"] for each in failed] == list(FAILING_ONES)
        assert {each["error_class"] for each in failed} == {"CheckViolationError"}
        assert all("short" in each["error"] for each in failed)
        canary = await fleet.tenants(rollout_id, "done")
        assert min(canary, key=lambda each: each["finished_at"])["slug"] == "shop000007"
        left = await fleet.rests(rollout_id)
        assert left["tenants"]["waiting"] == await moved(owner, HEAD) - 3 > 0

        assert await fleet.has("resume", rollout_id) == "running"
        finished = await fleet.becomes(rollout_id, "finished", within=60)
        assert finished["tenants"] == {"waiting": 0, "running": 0, "done": 197, "skipped": 0, "failed": 3}

        for slug in FAILING_ONES:
            await has_long_name(owner, slug, "Bart")
        assert await fleet.has("retry", rollout_id) == "running"
        finished = await fleet.becomes(rollout_id, "finished")
        assert finished["tenants"] == {"waiting": 0, "running": 0, "done": 200, "skipped": 0, "failed": 0}
        assert await moved(owner, "r1") == 200

        async with untouchable(newer.require("owner_database_url")):
            again = await fleet.asks(target="r1")
            assert (again.status_code, again.json()["status"]) == (202, "finished")
            assert again.json()["tenants"]["skipped"] == 200
        assert await events(owner) == [
            "rollout.started",
            "rollout.halted",
            "rollout.finished",
            "rollout.finished",
            "rollout.started",
            "rollout.finished",
        ]


async def test_nobody_touches_what_is_untouchable(
    config: Settings, owner: asyncpg.Connection, tenant: Tenant
) -> None:
    """That nothing was touched is worth something only if touching comes to no end."""
    await owner.execute("SET lock_timeout = 50")
    for table in ("users", "alembic_version"):
        async with untouchable(config.require("owner_database_url")):
            with pytest.raises(asyncpg.LockNotAvailableError):
                await owner.execute(f"SELECT FROM {await schema(owner, 'bakery')}.{table}")


async def test_the_plan_shows_sql_locks_waves_and_changes_nothing(
    config: Settings, owner: asyncpg.Connection, as_operator: dict[str, str], tenant: Tenant, tmp_path: Path
) -> None:
    newer = release(
        config, tmp_path, SCRIPT, "\ndef upgrade():\n    op.execute('CREATE INDEX ix_note ON users (note)')\n"
    )
    async with serving(newer) as api:
        fleet = Fleet(api, as_operator)
        plan = await fleet.plans(target="head")
        assert (plan["target"], plan["tenants"], plan["skipped"], plan["waves"]) == ("r2", 1, 0, [1])
        assert "ALTER TABLE users ADD COLUMN note text" in plan["sql"]
        (step,) = plan["steps"]
        assert (step["revision_from"], step["tenants"], step["online"]) == (HEAD, 1, [])
        assert [(each["sql"], each["lock"]) for each in step["statements"]] == [
            ("ALTER TABLE users ADD COLUMN note text", "ACCESS EXCLUSIVE"),
            ("CREATE INDEX ix_note ON users (note)", "SHARE"),
        ]
        assert (plan["locks"], plan["seconds"]) == ("ACCESS EXCLUSIVE", None)
        assert not await owner.fetchval("SELECT count(*) FROM shared.rollouts")
        assert await revisions(owner, "bakery") == (HEAD, *(await revisions(owner, "bakery"))[1:])

        rollout_id = await fleet.begins(target="head")  # nobody carries it out
        assert (await fleet.plans(target="r1"))["target"] == "r1"
        problem(await fleet.asks(target="head"), 409, "state-conflict")
        async with provisioning(newer):
            await fleet.becomes(rollout_id, "finished")
        assert (await fleet.plans(target="head"))["tenants"] == 0
        assert (await fleet.plans(target="r2"))["seconds"] == 0  # nobody is left to be moved


async def test_paused_nothing_begins_resumed_it_goes_on_and_aborted_it_stays(
    config: Settings, owner: asyncpg.Connection, as_operator: dict[str, str], tmp_path: Path
) -> None:
    await shops(config, 8)
    newer = release(config, tmp_path, SCRIPT)
    async with serving(newer) as api, provisioning(newer):
        fleet = Fleet(api, as_operator)
        rollout_id = await fleet.begins(target="head", canary=2, wave=3, bake_time=3600)

        async def canary_done() -> bool:
            return bool((await fleet.sees(rollout_id))["current_wave"] == 1)

        await eventually(canary_done, what="the canary's end")
        assert await moved(owner, "r1") == 2
        assert await fleet.has("pause", rollout_id) == "paused"
        problem(await fleet.does("pause", rollout_id), 409, "state-conflict")
        problem(await fleet.does("retry", rollout_id), 409, "state-conflict")  # none has failed
        assert await fleet.has("resume", rollout_id) == "running"
        assert await fleet.has("abort", rollout_id) == "aborted"
        for act in ("pause", "resume", "retry", "abort"):
            problem(await fleet.does(act, rollout_id), 409, "state-conflict")
        assert await moved(owner, "r1") == 2

        rollout_id = await fleet.begins(target="head", canary=0, wave="50%", rate=100)
        finished = await fleet.becomes(rollout_id, "finished")
        assert (finished["tenants"]["done"], finished["tenants"]["skipped"]) == (6, 2)
        assert await waves(owner, rollout_id) == [3, 3]
    actions = await owner.fetch(
        "SELECT action FROM shared.audit_log WHERE action LIKE 'rollout.%' ORDER BY id"
    )
    assert [row["action"] for row in actions] == [
        "rollout.start",
        "rollout.pause",
        "rollout.resume",
        "rollout.abort",
        "rollout.start",
    ]


async def test_a_rate_bounds_tenants_a_second(
    config: Settings, as_operator: dict[str, str], tmp_path: Path
) -> None:
    await shops(config, 7)
    newer = release(config, tmp_path, SCRIPT)
    async with serving(newer) as api, provisioning(newer):
        fleet = Fleet(api, as_operator)
        rollout_id = await fleet.begins(target="head", canary=0, wave=7, rate=10, concurrency=4)
        await fleet.becomes(rollout_id, "finished")
        begun = sorted(each["started_at"] for each in await fleet.tenants(rollout_id, "done"))
        assert len(begun) == 7
        assert begun[-1] > begun[0]


async def test_a_lock_held_by_a_client_fails_that_tenant_alone_after_three_attempts(
    config: Settings, owner: asyncpg.Connection, as_operator: dict[str, str], tmp_path: Path
) -> None:
    quick = replace(config, migration_lock_timeout=0.1)
    await shops(quick, 4)
    newer = release(quick, tmp_path, SCRIPT)
    reader = await asyncpg.connect(config.require("owner_database_url"))
    async with serving(newer) as api, provisioning(newer):
        fleet = Fleet(api, as_operator)
        async with reader.transaction():
            await reader.execute(f"LOCK TABLE {await schema(owner, 'shop000002')}.users IN ACCESS SHARE MODE")
            rollout_id = await fleet.begins(target="head", canary=0, wave=100, max_failures=1)
            halted = await fleet.becomes(rollout_id, "halted")
            (failed,) = await fleet.tenants(rollout_id, "failed")
            assert (failed["slug"], failed["attempts"]) == ("shop000002", 3)
            assert failed["error_class"] == "LockNotAvailableError"
            assert halted["note"] == "1 of a wave of 4 failed, which is more than a tenth"
            assert await moved(owner, "r1") == 3
        assert await fleet.has("retry", rollout_id) == "running"
        await fleet.becomes(rollout_id, "finished")
        assert await moved(owner, "r1") == 4
    await reader.close()


async def test_tenants_that_are_deleted_suspended_or_signed_up_in_the_middle(
    config: Settings,
    owner: asyncpg.Connection,
    as_operator: dict[str, str],
    operator_token: str,
    tmp_path: Path,
) -> None:
    await shops(config, 4)
    newer = release(config, tmp_path, SCRIPT)
    async with serving(newer) as api:
        fleet, operator = Fleet(api, as_operator), Operator(api, operator_token)
        rollout_id = await fleet.begins(target="head", canary=1, wave=1)
        await operator.has("delete", "shop000001")
        await operator.has("suspend", "shop000002")
        async with serving(config) as older, provisioning(config) as provisioner:  # of the release before
            await fleet.notes(rollout_id, "waiting for a newer provisioner")
            await sign_up(older, "late")
            assert await revisions(owner, "late") == (HEAD, *(await revisions(owner, "late"))[1:])
            await provisioner.stop()
        await owner.execute("UPDATE shared.messages SET available_at = now() WHERE type = 'rollout.wave'")
        async with provisioning(newer):
            finished = await fleet.becomes(rollout_id, "finished")
            assert finished["note"] is None
            assert finished["tenants"]["done"] == 5
            assert await moved(owner, "r1") == 5
            await operator.has("restore", "shop000001")
            assert (await operator.sees("shop000001"))["revision"] == "r1"


async def test_online_revisions_go_with_a_rollout_too(
    config: Settings, owner: asyncpg.Connection, as_operator: dict[str, str], tmp_path: Path
) -> None:
    await shops(config, 3)
    newer = release(config, tmp_path, SCRIPT, ONLINE)
    async with serving(newer) as api, provisioning(newer):
        fleet = Fleet(api, as_operator)
        assert [step["online"] for step in (await fleet.plans(target="head"))["steps"]] == [["r2"]]
        await fleet.becomes(await fleet.begins(target="head", canary=0, wave=10), "finished")
    for slug in ("shop000000", "shop000001", "shop000002"):
        assert (await revisions(owner, slug))[::2] == ("r2", "r2")
        assert await owner.fetchval(f"SELECT users FROM {await schema(owner, slug)}.counted") == 1


async def test_a_canary_that_fails_stops_it_before_the_first_wave(
    config: Settings, owner: asyncpg.Connection, as_operator: dict[str, str], tmp_path: Path
) -> None:
    await shops(config, 5)
    newer = release(config, tmp_path, FAILING)
    async with serving(newer) as api, provisioning(newer):
        fleet = Fleet(api, as_operator)
        rollout_id = await fleet.begins(target="head", max_failures=4)
        halted = await fleet.becomes(rollout_id, "halted")
        assert (halted["current_wave"], halted["tenants"]["failed"], halted["tenants"]["waiting"]) == (
            0,
            1,
            4,
        )
    assert await moved(owner, HEAD) == 5


async def test_a_provisioner_that_crashes_in_a_wave_loses_nobody(
    config: Settings, owner: asyncpg.Connection, as_operator: dict[str, str], tmp_path: Path
) -> None:
    await shops(config, 30)
    newer = release(config, tmp_path, SCRIPT)
    async with serving(newer) as api:
        fleet = Fleet(api, as_operator)
        rollout_id = await fleet.begins(target="head", canary=0, wave=30, rate=40)
        async with provisioning(newer) as service:

            async def some() -> bool:
                return 0 < await moved(owner, "r1") < 30

            await eventually(some, what="a wave that is under way")
            await service.crash()
        assert (await fleet.sees(rollout_id))["tenants"]["waiting"] > 0
        async with provisioning(newer):
            finished = await fleet.becomes(rollout_id, "finished")
        assert finished["tenants"]["done"] == 30
    attempts = await owner.fetchval("SELECT max(attempts) FROM shared.rollout_tenants")
    assert attempts <= 2  # who was in hand counts
