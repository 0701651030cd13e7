"""Bulk replays: many messages sent again, at a rate, by whichever provisioners there are."""

import asyncio
import itertools
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from db.audit import By
from db.control import replays
from db.ledger.envelope import BULK, SIGN_UP
from db.ledger.lists import MessageFilter
from db.settings import Settings
from tests.messages import WHY
from tests.support import Client, Service, eventually, problem, provisioning, requested, signed_up

PARKED = {"filter": {"status": "parked", "type": "tenant.provision"}, **WHY}


async def park(owner: asyncpg.Connection, count: int) -> None:
    """Leave parked provisions of tenants that have nothing wrong with them any more."""
    async with owner.transaction():
        for number in range(count):
            await signed_up(owner, f"shop{number}")
        await owner.execute("UPDATE shared.tenants SET status = 'failed'")
        await owner.execute("UPDATE shared.messages SET status = 'published' WHERE kind = 'event'")
        await owner.execute(
            "UPDATE shared.messages SET status = 'parked', attempts = 8, error_class = 'DiskFullError'"
            " WHERE kind = 'command'"
        )


async def status(api: Client, as_operator: dict[str, str], replay: dict[str, Any]) -> dict[str, Any]:
    answer = await api.get(f"/cc/replays/{replay['id']}", headers=as_operator)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def finished(api: Client, as_operator: dict[str, str], replay: dict[str, Any]) -> dict[str, Any]:
    """Wait until a replay is over, and return it."""

    async def probe() -> dict[str, Any] | None:
        now = await status(api, as_operator, replay)
        return now if now["status"] == "finished" else None

    found = await eventually(probe, what="the replay finished")
    assert found is not None
    return found


async def test_a_dry_run_counts_and_changes_nothing(
    api: Client, as_operator: dict[str, str], owner: asyncpg.Connection
) -> None:
    await park(owner, 7)
    answer = await api.post("/cc/replays", headers=as_operator, json={**PARKED, "dry_run": True})
    assert answer.status_code == 200
    assert answer.json()["count"] == 7
    assert {message["status"] for message in answer.json()["sample"]} == {"parked"}
    assert await owner.fetchval("SELECT count(*) FROM shared.messages WHERE status = 'parked'") == 7
    assert await owner.fetchval("SELECT count(*) FROM shared.replays") == 0


async def test_all_that_the_filter_means_is_sent_again_and_the_tenants_become_active(
    api: Client, as_operator: dict[str, str], owner: asyncpg.Connection, provisioner: Service
) -> None:
    await park(owner, 7)
    answer = await api.post(
        "/cc/replays", headers=as_operator, json={**PARKED, "expected_count": 7, "rate": 100}
    )
    assert answer.status_code == 202, answer.text
    replay = answer.json()
    assert answer.headers["location"] == f"/cc/replays/{replay['id']}"
    assert (replay["count"], replay["rate"]) == (7, 100)
    over = await finished(api, as_operator, replay)
    assert (over["done"], over["skipped"]) == (7, 0)
    assert over["finished_at"] is not None

    async def all_active() -> bool:
        return bool(await owner.fetchval("SELECT bool_and(status = 'active') FROM shared.tenants"))

    await eventually(all_active, what="all tenants active")
    rows = await owner.fetch(
        "SELECT actor, detail->>'reason' AS reason, count(*) FROM shared.audit_log"
        " WHERE action = 'message.replay' AND request_id = $1 GROUP BY 1, 2",
        replay["id"],
    )
    assert [(row["reason"], row["count"]) for row in rows] == [(WHY["reason"], 7)]
    assert rows[0]["actor"] in as_operator["authorization"]


async def test_many_sent_again_wait_for_sign_ups_and_a_single_one_does_not(
    api: Client, as_operator: dict[str, str], owner: asyncpg.Connection
) -> None:
    await park(owner, 3)
    first = "SELECT id FROM shared.messages WHERE status = 'parked' ORDER BY id LIMIT 1"
    single = await owner.fetchval(first)
    answer = await api.post(f"/cc/messages/{single}/replay", headers=as_operator, json=WHY)
    assert answer.status_code == 200, answer.text
    await api.post("/cc/replays", headers=as_operator, json=PARKED)
    assert await replays.advance(owner)
    rows = await owner.fetch("SELECT id, priority FROM shared.messages WHERE status = 'pending'")
    assert {row["id"] for row in rows if row["priority"] == SIGN_UP} == {single}
    assert [row["priority"] for row in rows].count(BULK) == 2


async def test_nothing_is_sent_where_the_count_is_not_what_the_operator_expected(
    api: Client, as_operator: dict[str, str], owner: asyncpg.Connection
) -> None:
    await park(owner, 3)
    answer = await api.post("/cc/replays", headers=as_operator, json={**PARKED, "expected_count": 2})
    problem(answer, 409, "count-mismatch")
    assert await owner.fetchval("SELECT count(*) FROM shared.replays") == 0
    right = await api.post("/cc/replays", headers=as_operator, json={**PARKED, "expected_count": 3})
    assert right.status_code == 202


async def test_two_provisioners_together_keep_to_the_rate(
    api: Client, config: Settings, as_operator: dict[str, str], owner: asyncpg.Connection
) -> None:
    await park(owner, 8)
    async with provisioning(config), provisioning(config):
        replay = (await api.post("/cc/replays", headers=as_operator, json={**PARKED, "rate": 3})).json()
        await finished(api, as_operator, replay)
    sent = await owner.fetch(
        "SELECT at, count(*) FROM shared.audit_log WHERE action = 'message.replay' GROUP BY at ORDER BY at"
    )
    assert [row["count"] for row in sent] == [3, 3, 2]
    gaps = [(after["at"] - before["at"]).total_seconds() for before, after in itertools.pairwise(sent)]
    assert min(gaps) >= 1.0


async def test_a_replay_outlives_its_provisioner(
    api: Client, config: Settings, as_operator: dict[str, str], owner: asyncpg.Connection
) -> None:
    await park(owner, 6)
    async with provisioning(config) as first:
        replay = (await api.post("/cc/replays", headers=as_operator, json={**PARKED, "rate": 3})).json()

        async def begun() -> bool:
            return bool((await status(api, as_operator, replay))["done"])

        await eventually(begun, what="the first step")
        await first.crash()
        assert (await status(api, as_operator, replay))["status"] == "running"
    async with provisioning(config):
        assert (await finished(api, as_operator, replay))["done"] == 6


async def test_a_cancelled_replay_sends_nothing_more(
    api: Client, as_operator: dict[str, str], owner: asyncpg.Connection
) -> None:
    await park(owner, 5)
    replay = (await api.post("/cc/replays", headers=as_operator, json={**PARKED, "rate": 2})).json()
    assert await replays.advance(owner)
    answer = await api.delete(f"/cc/replays/{replay['id']}", headers=as_operator)
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["done"]) == ("cancelled", 2)
    assert not await replays.advance(owner)
    assert await owner.fetchval("SELECT count(*) FROM shared.messages WHERE status = 'parked'") == 3
    assert (await api.delete(f"/cc/replays/{replay['id']}", headers=as_operator)).status_code == 200


async def test_only_what_was_chosen_is_sent_and_only_once(
    api: Client, as_operator: dict[str, str], owner: asyncpg.Connection
) -> None:
    await park(owner, 2)
    replay = (await api.post("/cc/replays", headers=as_operator, json={**PARKED, "rate": 1})).json()
    assert await replays.advance(owner)
    # What fails again meanwhile waits for an operator's next word; so does what was not there.
    await owner.execute("UPDATE shared.messages SET status = 'parked' WHERE status = 'pending'")
    await requested(api, "latecomer")
    await owner.execute(
        "UPDATE shared.messages SET status = 'parked' WHERE status = 'pending' AND kind = 'command'"
    )

    async def over() -> bool:
        await replays.advance(owner)
        return bool((await status(api, as_operator, replay))["status"] == "finished")

    await eventually(over, what="the replay finished")
    assert await owner.fetchval("SELECT max(replays) FROM shared.messages") == 1
    assert await owner.fetchval("SELECT sum(replays) FROM shared.messages") == 2


async def test_what_somebody_else_has_dealt_with_is_passed_over(
    api: Client, as_operator: dict[str, str], owner: asyncpg.Connection
) -> None:
    await park(owner, 3)
    replay = (await api.post("/cc/replays", headers=as_operator, json=PARKED)).json()
    message_id = await owner.fetchval("SELECT id FROM shared.messages WHERE status = 'parked' LIMIT 1")
    await api.post(f"/cc/messages/{message_id}/replay", headers=as_operator, json=WHY)
    assert await replays.advance(owner)
    over = await status(api, as_operator, replay)
    assert (over["status"], over["done"], over["skipped"]) == ("finished", 2, 1)


async def test_many_at_once_take_each_step_once(config: Settings, owner: asyncpg.Connection) -> None:
    await park(owner, 20)
    async with owner.transaction():
        await replays.start(owner, MessageFilter(status="parked"), rate=5, by=By("test", None, "why"))
    async with asyncpg.create_pool(config.owner_database_url, min_size=8, max_size=8) as pool:

        async def step() -> bool:
            async with pool.acquire() as connection:
                return await replays.advance(connection)

        taken = await asyncio.gather(*(step() for _ in range(8)))
    assert taken.count(True) == 1
    assert await owner.fetchval("SELECT sum(replays) FROM shared.messages") == 5


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"filter": {}, **WHY}, "filter"),
        ({"filter": {"status": "parked"}}, "reason"),
        ({"filter": {"status": "parked"}, "reason": " "}, "reason"),
        ({"filter": {"status": "lost"}, **WHY}, "filter.status"),
        ({"filter": {"colour": "red"}, **WHY}, None),
        ({**PARKED, "rate": 0}, "rate"),
        ({**PARKED, "expected_count": -1}, "expected_count"),
        ({**WHY}, None),
    ],
)
async def test_a_replay_that_does_not_say_what_and_why_is_refused(
    api: Client, as_operator: dict[str, str], body: dict[str, Any], field: str | None
) -> None:
    answer = problem(await api.post("/cc/replays", headers=as_operator, json=body), 400, "validation")
    if field in {"filter", "reason"}:
        assert field in {error["field"] for error in answer["errors"]} or "body" in str(answer["errors"])


async def test_a_replay_that_is_not_there_is_not_found(api: Client, as_operator: dict[str, str]) -> None:
    problem(await api.get(f"/cc/replays/{uuid4()}", headers=as_operator), 404, "not-found")
    problem(await api.delete(f"/cc/replays/{uuid4()}", headers=as_operator), 404, "not-found")


async def test_strangers_and_tenants_replay_nothing(api: Client) -> None:
    tenant = await requested(api, "bakery")
    problem(await api.post("/cc/replays", json=PARKED), 401, "unauthenticated")
    problem(await api.post("/cc/replays", json=PARKED, headers=tenant.headers), 403, "forbidden")
