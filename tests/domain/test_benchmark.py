"""The benchmark's tenants and requests on the application's own table: what it measures is right."""

import json
from pathlib import Path

import asyncpg
import msgspec

from db.settings import Settings
from tests.benchmarks import fleet, loads, stacks
from tests.benchmarks.domain import BODY, PATH, TABLE
from tests.benchmarks.fleet import ROWS, Member
from tests.benchmarks.loads import ADD, CHANGE, PAGE, READ
from tests.benchmarks.plan import QUICK
from tests.support import Client


async def test_each_tenant_of_the_fleet_answers_with_its_own_rows(
    api: Client, config: Settings, owner: asyncpg.Connection
) -> None:
    members = list[Member]()
    await fleet.grow(config, members, 2)
    await fleet.grow(config, members, 3)
    assert await owner.fetchval("SELECT count(*) FROM shared.tenants WHERE status = 'active'") == 3
    for member in members:
        for login in (False, True):
            headers = member.target(login=login).headers
            one = await api.get(f"{PATH}/{ROWS}", headers=headers)
            assert one.status_code == 200, one.text
            assert one.text.count(f"{member.mark}r{ROWS:06d}") == 1
            page = await api.get(f"{PATH}?limit={ROWS}", headers=headers)
            assert page.text.count(member.mark) == ROWS == len(page.json()["items"])
        body = msgspec.json.decode(json.dumps(BODY).replace("{mark}", "new"))
        made = await api.post(PATH, headers=member.target().headers, json=body)
        assert made.status_code == 201, made.text
        changed = await api.patch(f"{PATH}/1", headers=member.target().headers, json=body)
        assert changed.status_code == 200, changed.text
        assert "new" in changed.text


async def test_one_tenant_gets_as_many_rows_as_are_wanted(
    config: Settings, owner: asyncpg.Connection
) -> None:
    members = list[Member]()
    await fleet.grow(config, members, 1)
    await fleet.fill(config, members[0], 50)
    (first,) = members
    assert await owner.fetchval(f"SELECT count(*) FROM {first.schema}.{TABLE}") == 50
    assert first.mark in str(await owner.fetchrow(f"SELECT * FROM {first.schema}.{TABLE} WHERE id = 50"))


async def test_ceilings_and_the_api_answer_all_that_is_asked(
    config: Settings, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    members = list[Member]()
    await fleet.grow(config, members, 2)
    ceiling, *narrow = stacks.ceilings(config, tmp_path, members[0], ROWS)
    own = stacks.tenantry(config, tmp_path, members)
    plan = msgspec.structs.replace(QUICK, connections=4, seconds=0.1, rounds=2)
    async with loads.serving([ceiling, *narrow, own]):
        everything = [
            (stack, loads.job(stack, operation, plan))
            for stack in (ceiling, own)
            for operation in (READ, PAGE, ADD, CHANGE)
        ]
        reading = [(stack, loads.job(stack, READ, plan)) for stack in narrow]
        for rounds in await loads.by_turns([*everything, *reading], plan):
            assert [len(values) for values in rounds.of.values()] == [2, 2, 2, 2]
            assert min(rounds.of["per_second"]) > 0
            assert min(rounds.of["cpu_ms"]) >= 0
    for member in members:  # both were written to, the first by the ceiling and the API
        made = await owner.fetchval(f"SELECT count(*) FROM {member.schema}.{TABLE}")
        assert made > ROWS + 1
