"""Rollouts as they are ordered, listed, streamed and steered: over HTTP and in the shell."""

import asyncio
import json
from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

from db.control import rollouts
from db.settings import Settings
from tests.migrations import BEFORE, HEAD, SCRIPT, release
from tests.rollouts import WHY, Fleet, shops
from tests.shell import alembic, typed
from tests.support import Client, Service, Tenant, problem, provisioning, serving


@pytest.fixture
def fleet(api: Client, as_operator: dict[str, str]) -> Fleet:
    return Fleet(api, as_operator)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "target"),
        ({"target": "head", "task": "sweep"}, "target"),
        ({"target": "nonsense"}, "revision"),
        ({"task": "no_such_task"}, "task"),
        ({"target": "head", "arguments": {"a": 1}}, "arguments"),
        ({"target": "head", "canary": ["florist"]}, "canary"),
        ({"target": "head", "canary": -1}, "canary"),
        ({"target": "head", "wave": "0%"}, "wave"),
        ({"target": "head", "wave": "101%"}, "wave"),
        ({"target": "head", "wave": 0}, "wave"),
        ({"target": "head", "concurrency": 0}, "concurrency"),
        ({"target": "head", "concurrency": 17}, "concurrency"),
        ({"target": "head", "rate": 0}, "rate"),
        ({"target": "head", "max_failures": -1}, "max_failures"),
        ({"target": "head", "bake_time": -1}, "bake_time"),
        ({"target": "head", "filter": {"colour": "red"}}, "filter"),
        ({"target": "head", "reason": None}, "reason"),
    ],
    ids=str,
)
async def test_what_is_wrong_is_told_by_its_name(
    fleet: Fleet, tenant: Tenant, owner: asyncpg.Connection, body: dict[str, object], field: str
) -> None:
    told = problem(await fleet.asks(**body), 400, "validation")
    assert field in json.dumps(told["errors"]), told
    assert not await owner.fetchval("SELECT count(*) FROM shared.rollouts")


async def test_there_is_no_other(
    api: Client, fleet: Fleet, as_operator: dict[str, str], tenant: Tenant
) -> None:
    nobody = "019b0000-0000-7000-8000-000000000000"
    for path in ("", "/events", "/tenants"):
        problem(await api.get(f"/cc/rollouts/{nobody}{path}", headers=as_operator), 404, "not-found")
    for act in ("pause", "resume", "abort", "retry"):
        problem(await fleet.does(act, nobody), 404, "not-found")
        missing = await api.post(f"/cc/rollouts/{nobody}/{act}", headers=as_operator, json={})
        problem(missing, 400, "validation")
    problem(
        await api.post("/cc/rollouts", headers=tenant.headers, json={"target": "head"} | WHY),
        403,
        "forbidden",
    )


async def test_two_at_once_are_one(
    config: Settings, as_operator: dict[str, str], tenant: Tenant, tmp_path: Path
) -> None:
    newer = release(config, tmp_path, SCRIPT)
    async with serving(newer) as api:
        fleet = Fleet(api, as_operator)
        answers = await asyncio.gather(*(fleet.asks(target="head") for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409, 409]
        listed = await api.get("/cc/rollouts", headers=as_operator)
        assert len(listed.json()["items"]) == 1


async def test_a_list_goes_from_page_to_page(
    api: Client, fleet: Fleet, as_operator: dict[str, str], tenant: Tenant
) -> None:
    begun = [await fleet.begins(target="head") for _ in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        wanted = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await api.get("/cc/rollouts", headers=as_operator, params=wanted)).json()
        seen += [each["id"] for each in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == begun[::-1]


async def test_what_is_over_goes_after_its_retention_and_what_is_open_stays(
    config: Settings, owner: asyncpg.Connection, as_operator: dict[str, str], tenant: Tenant, tmp_path: Path
) -> None:
    async with serving(release(config, tmp_path, SCRIPT)) as newer:
        fleet = Fleet(newer, as_operator)
        old, recent = await fleet.begins(target=HEAD), await fleet.begins(target=HEAD)
        opened = await fleet.begins(target="head")
        past = "now() - interval '31 days'"
        await owner.execute(f"UPDATE shared.rollouts SET finished_at = {past} WHERE id = $1", old)
        await owner.execute(f"UPDATE shared.rollouts SET created_at = {past} WHERE id = $1", opened)
        await rollouts.sweep(owner, days=30)
        rows = await owner.fetch("SELECT DISTINCT rollout_id FROM shared.rollout_tenants")
        assert {str(row["rollout_id"]) for row in rows} == {recent, opened}
        assert (await fleet.sees(opened))["id"] == opened
        assert (await newer.get(f"/cc/rollouts/{old}", headers=as_operator)).status_code == 404


async def test_a_stream_tells_until_it_is_over(
    config: Settings, as_operator: dict[str, str], tmp_path: Path
) -> None:
    await shops(config, 3)
    newer = replace(release(config, tmp_path, SCRIPT), stream_poll=0.05)
    async with serving(newer) as api, provisioning(newer):
        rollout_id = await Fleet(api, as_operator).begins(target="head", wave=1)
        answer = await api.get(f"/cc/rollouts/{rollout_id}/events", headers=as_operator)
    told = [json.loads(line[5:]) for line in answer.text.splitlines() if line.startswith("data:")]
    assert told[0]["status"] in {"planned", "running"}
    assert (told[-1]["status"], told[-1]["tenants"]["done"]) == ("finished", 3)


async def test_a_shell_does_the_same(
    config: Settings, owner: asyncpg.Connection, provisioner: Service, tenant: Tenant
) -> None:
    await alembic(config, "-x", "tenant=bakery", "downgrade", BEFORE)
    planned = await typed(config, "litestar", "rollouts", "plan")
    assert planned.code == 0, planned.err
    assert f"to {HEAD}: 1 tenants, 0 are there already" in planned.out
    assert f"1 from {BEFORE}:" in planned.out
    done = await typed(config, "litestar", "rollouts", "run", "--watch", "--reason", "a test")
    assert done.code == 0, done.err + done.out
    assert "finished" in done.out
    listed = json.loads((await typed(config, "litestar", "rollouts", "list", "--json")).out)
    assert [each["status"] for each in listed] == ["finished"]
    (found,) = listed
    status = await typed(config, "litestar", "rollouts", "status", found["id"], "--json")
    assert json.loads(status.out)["rollout"]["tenants"]["done"] == 1
    for act in ("pause", "resume", "abort", "retry"):
        refused = await typed(config, "litestar", "rollouts", act, found["id"], "--reason", "a test")
        assert refused.code == 1
        assert "is finished" in refused.err or "has failed" in refused.err
    for wrong in (("--wave", "x"), ("--target", "nonsense"), ("--canary", "nobody"), ("--arguments", "[]")):
        refused = await typed(config, "litestar", "rollouts", "plan", *wrong)
        assert refused.code == 2, (wrong, refused)


async def test_an_archived_wave_halts_its_rollout_which_goes_on_when_resumed(
    config: Settings, owner: asyncpg.Connection, as_operator: dict[str, str], tmp_path: Path
) -> None:
    await shops(config, 2)
    newer = release(config, tmp_path, SCRIPT)
    async with serving(newer) as api:
        fleet = Fleet(api, as_operator)
        rollout_id = await fleet.begins(target="head")
        async with provisioning(config):  # of the release before
            await fleet.notes(rollout_id, "waiting for a newer provisioner")
        message_id = await owner.fetchval("SELECT message_id FROM shared.rollouts")
        answer = await api.post(f"/cc/messages/{message_id}/archive", headers=as_operator, json=WHY)
        assert answer.status_code == 200, answer.text
        assert (await fleet.sees(rollout_id))["status"] == "halted"
        assert await fleet.has("resume", rollout_id) == "running"
        async with provisioning(newer):
            await fleet.becomes(rollout_id, "finished")


async def test_who_was_begun_too_often_without_an_end_is_given_up(
    config: Settings, owner: asyncpg.Connection, as_operator: dict[str, str], tmp_path: Path
) -> None:
    await shops(config, 2)
    newer = release(config, tmp_path, SCRIPT)
    async with serving(newer) as api:
        fleet = Fleet(api, as_operator)
        rollout_id = await fleet.begins(target="head", canary=["shop000001"])
        await owner.execute("UPDATE shared.rollout_tenants SET attempts = 8 WHERE wave = 0")
        async with provisioning(newer):
            await fleet.becomes(rollout_id, "halted")
            (failed,) = await fleet.tenants(rollout_id, "failed")
            assert (failed["slug"], failed["error_class"], failed["attempts"]) == (
                "shop000001",
                "crash_loop",
                9,
            )
            assert await fleet.has("retry", rollout_id) == "running"
            await fleet.becomes(rollout_id, "finished")
