"""Tasks: functions of the domain that a rollout runs in tenants, each with the tenant's role."""

from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace
from sqlalchemy import func, select, update

from db.control.tasks import TASKS
from db.models.access import User
from db.session.statements import Statement
from db.session.transaction import TenantTransaction
from db.settings import Settings
from tests.rollouts import Fleet, shops
from tests.support import eventually, provisioning, serving

_NAME = Statement(update(User).values(first_name=func.upper(User.email)).returning(User.id))
_LEFT = Statement(select(func.count()).select_from(User).where(User.last_name.is_(None)))
_ONE = Statement(
    update(User)
    .where(User.id == select(func.min(User.id)).where(User.last_name.is_(None)).scalar_subquery())
    .values(last_name=func.upper(User.email))
    .returning(User.id)
)


async def name_all(transaction: TenantTransaction, arguments: dict[str, Any]) -> None:
    await transaction.fetch(_NAME)
    if arguments.get("fail"):
        raise ValueError("a defect of the task")


async def name_one(transaction: TenantTransaction, _: dict[str, Any]) -> bool:
    await transaction.fetch(_ONE)
    return bool(await transaction.fetchval(_LEFT))


@pytest.fixture(autouse=True)
def tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    for task in (name_all, name_one):
        monkeypatch.setitem(TASKS, task.__name__, task)


async def people(owner: asyncpg.Connection) -> list[asyncpg.Record]:
    """Return the users of all tenants."""
    schemas = await owner.fetch("SELECT schema_name FROM shared.tenants ORDER BY slug")
    found: list[asyncpg.Record] = []
    for row in schemas:
        found += await owner.fetch(f"SELECT * FROM {row['schema_name']}.users")
    return found


async def test_a_task_runs_once_in_each_tenant_with_its_role(
    config: Settings, owner: asyncpg.Connection, as_operator: dict[str, str]
) -> None:
    await shops(config, 12)
    async with serving(config) as api, provisioning(config):
        fleet = Fleet(api, as_operator)
        plan = await fleet.plans(task="name_all")
        assert (plan["task"], plan["tenants"], plan["sql"], plan["waves"]) == (
            "name_all",
            12,
            "",
            [1, 2, 2, 2, 2, 2, 1],
        )
        rollout_id = await fleet.begins(task="name_all")
        finished = await fleet.becomes(rollout_id, "finished")
        assert finished["tenants"]["done"] == 12
        assert all(each["first_name"] == each["email"].upper() for each in await people(owner))
        assert len(await people(owner)) == 12
        assert (await fleet.plans(task="name_all"))["seconds"] > 0


async def test_a_task_goes_on_batch_by_batch(
    config: Settings, owner: asyncpg.Connection, as_operator: dict[str, str]
) -> None:
    await shops(config, 2)
    for row in await owner.fetch("SELECT schema_name AS schema FROM shared.tenants"):
        await owner.execute(
            f"INSERT INTO {row['schema']}.users (email, user_role_id)"
            f" SELECT n || '@example.com', (SELECT min(id) FROM {row['schema']}.roles) FROM generate_series(1, 5) n"
        )
    async with serving(config) as api, provisioning(config):
        fleet = Fleet(api, as_operator)
        await fleet.becomes(await fleet.begins(task="name_one", canary=0), "finished")
    assert [each["last_name"] for each in await people(owner)].count(None) == 0
    assert len(await people(owner)) == 12


async def test_a_task_that_fails_changes_nothing_and_halts(
    config: Settings, owner: asyncpg.Connection, as_operator: dict[str, str]
) -> None:
    await shops(config, 3)
    async with serving(config) as api, provisioning(config):
        fleet = Fleet(api, as_operator)
        rollout_id = await fleet.begins(task="name_all", arguments={"fail": True})
        halted = await fleet.becomes(rollout_id, "halted")
        (failed,) = await fleet.tenants(rollout_id, "failed")
        assert (failed["error_class"], failed["error"]) == ("ValueError", "a defect of the task")
        assert halted["tenants"]["waiting"] == 2
        assert {each["first_name"] for each in await people(owner)} == {None}


async def test_without_the_apis_login_it_halts_with_words(
    config: Settings, as_operator: dict[str, str]
) -> None:
    await shops(config, 1)
    async with serving(config) as api, provisioning(replace(config, database_url=None)):
        fleet = Fleet(api, as_operator)
        halted = await fleet.becomes(await fleet.begins(task="name_all"), "halted")
        assert "set its DATABASE_URL" in halted["note"]


async def test_a_task_that_the_provisioner_does_not_know_waits_for_a_newer_one(
    config: Settings, as_operator: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await shops(config, 1)
    async with serving(config) as api:
        fleet = Fleet(api, as_operator)
        rollout_id = await fleet.begins(task="name_all")
        with monkeypatch.context() as older:
            older.delitem(TASKS, "name_all")
            async with provisioning(replace(config, newer_release_delay=0.1)):
                await fleet.notes(rollout_id, "waiting for a newer provisioner")
        async with provisioning(config):
            finished = await fleet.becomes(rollout_id, "finished")
            assert finished["note"] is None


async def test_a_pause_reaches_a_task_between_its_batches(
    config: Settings, owner: asyncpg.Connection, as_operator: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    async def endless(transaction: TenantTransaction, _: dict[str, Any]) -> bool:
        nonlocal calls
        calls += 1
        await transaction.fetch(_NAME)
        return True

    monkeypatch.setitem(TASKS, "endless", endless)
    await shops(config, 1)
    async with serving(config) as api, provisioning(config):
        fleet = Fleet(api, as_operator)
        rollout_id = await fleet.begins(task="endless")

        async def goes_on() -> bool:
            return calls > 3

        await eventually(goes_on, what="a task that goes on")
        assert await fleet.has("pause", rollout_id) == "paused"
        rests = await fleet.rests(rollout_id)
        assert rests["tenants"]["waiting"] == 1
        before = calls
        assert await fleet.has("abort", rollout_id) == "aborted"
        assert (await people(owner))[0]["first_name"] is not None  # what it has done stays done
        assert calls == before
