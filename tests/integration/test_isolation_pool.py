"""The pool: tenants use a connection in turn, and nothing of one is left on it for the next."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from asyncpg.pool import PoolConnectionProxy
from sqlalchemy import bindparam, func, select

from db.models.access import User
from db.session.statements import Statement
from db.session.tenancy import Database, PoisonedError
from db.settings import Settings
from tests.isolation import ADD_NAME, FAILS, NAMES, WHO, Resident, backend, names, settle

SLEEPS = Statement(select(User.first_name, func.pg_sleep(bindparam("seconds"))))
SECONDS = 0.005


@pytest.fixture
async def residents(owner: asyncpg.Connection, config: Settings) -> list[Resident]:
    """Six tenants, twice as many as a pool of several connections has."""
    return await settle(owner, config, ["ash", "birch", "cedar", "elm", "fir", "gum"])


async def test_one_connection_serves_a_failure_the_login_a_savepoint_and_another_tenant(
    single: Database, residents: list[Resident]
) -> None:
    ash, birch, *_ = residents
    before = await backend(single)
    assert await names(single, ash) == [ash.canary]
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with single.tenant(ash.schema) as transaction:
            await transaction.fetch(FAILS)
    async with single.shared() as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch(f"SELECT first_name FROM {ash.schema}.users")
    async with single.tenant(ash.schema) as transaction:
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with transaction.savepoint():
                await transaction.fetch(ADD_NAME, name="undone")
                await transaction.fetch(FAILS)
        assert [row["first_name"] for row in await transaction.fetch(NAMES)] == [ash.canary]
        assert (await transaction.fetch(WHO))[0][0] == ash.schema
    assert await names(single, birch) == [birch.canary]
    assert await backend(single) == before


@pytest.fixture
async def careless(config: Settings) -> AsyncIterator[tuple["asyncpg.Pool[asyncpg.Record]", Database]]:
    """A database whose pool resets nothing, so that what is left on a connection stays there."""

    async def forget_to_reset(_: object) -> None:
        pass

    pool = asyncpg.create_pool(config.require("database_url"), min_size=0, max_size=1, reset=forget_to_reset)
    await pool
    yield pool, Database(pool, acquire_timeout=2)
    await pool.close()


@pytest.mark.parametrize("poison", ["SET ROLE {ash}", "SET ROLE {birch}"])
async def test_a_poisoned_connection_is_dropped_and_the_next_request_is_served(
    careless: tuple["asyncpg.Pool[asyncpg.Record]", Database], residents: list[Resident], poison: str
) -> None:
    pool, database = careless
    ash, birch, *_ = residents
    async with database.shared() as connection:
        before = await connection.fetchval("SELECT pg_backend_pid()")
    raw = await pool.acquire()
    await raw.execute(poison.format(ash=ash.schema, birch=birch.schema))
    await pool.release(raw)
    with pytest.raises(PoisonedError):
        await names(database, birch)
    assert await names(database, birch) == [birch.canary]
    async with database.shared() as connection:
        assert await connection.fetchval("SELECT pg_backend_pid()") != before


async def test_a_poisoned_connection_shows_the_login_nothing_either(
    careless: tuple["asyncpg.Pool[asyncpg.Record]", Database], residents: list[Resident]
) -> None:
    pool, database = careless
    raw = await pool.acquire()
    await raw.execute(f"SET ROLE {residents[0].schema}")
    await pool.release(raw)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.shared() as connection:
            await connection.fetch("SELECT id FROM shared.tenants")


async def test_release_takes_role_settings_locks_and_transaction_off_a_connection(
    single: Database, residents: list[Resident], superuser: asyncpg.Connection
) -> None:
    ash, birch, *_ = residents
    before = await backend(single)
    raw = await single._pool.acquire()
    await raw.execute("SELECT pg_advisory_unlock_all()")
    await raw.execute(f"SET ROLE {ash.schema}; SET statement_timeout = 1; SET search_path = {ash.schema}")
    await raw.execute("LISTEN tenantry_registry")
    await raw.execute("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT; BEGIN")
    await single._pool.release(raw)
    assert await backend(single) == before
    assert await names(single, birch) == [birch.canary]
    async with single.shared() as connection:
        left = await connection.fetchrow(
            "SELECT current_setting('role') AS role, current_setting('search_path') AS path,"
            " current_setting('statement_timeout') AS time_out,"
            " (SELECT count(*) FROM pg_listening_channels()) AS listening"
        )
    assert left is not None
    assert dict(left) == {"role": "none", "path": "extensions", "time_out": "5s", "listening": 0}


async def test_interleaved_tasks_of_six_tenants_see_their_own_canary_only(
    several: Database, residents: list[Resident]
) -> None:
    async def read(resident: Resident) -> list[str]:
        async with several.tenant(resident.schema) as transaction:
            first = [row["first_name"] for row in await transaction.fetch(NAMES)]
            await asyncio.sleep(0)
            return first + [row["first_name"] for row in await transaction.fetch(NAMES)]

    tasks = [(resident, asyncio.create_task(read(resident))) for resident in residents for _ in range(50)]
    random.Random(5).shuffle(tasks)
    for resident, task in tasks:
        assert await task == [resident.canary] * 2


async def test_requests_cancelled_anywhere_never_show_a_foreign_row_nor_leave_a_role(
    several: Database, residents: list[Resident], superuser: asyncpg.Connection
) -> None:
    """Some 300 requests, a third of them cancelled at a random moment: in the queue, preamble, query, commit."""
    dice = random.Random(20)
    seen: list[tuple[Resident, list[str]]] = []

    async def read(resident: Resident, seconds: float) -> None:
        async with several.tenant(resident.schema) as transaction:
            rows = await transaction.fetch(SLEEPS, seconds=seconds)
            who = (await transaction.fetch(WHO))[0]
            assert (who[0], who[1]) == (resident.schema, "tenantry_app")
            seen.append((resident, [row["first_name"] for row in rows]))

    async def look_up() -> None:
        async with several.shared() as connection:
            who = await connection.fetchrow("SELECT current_user, session_user FROM shared.tenants LIMIT 1")
            assert who is not None
            assert who[0] == who[1] == "tenantry_app"

    async def cut_off(task: "asyncio.Task[None]", after: float) -> str:
        if after:
            await asyncio.wait({task}, timeout=after)
            task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return "cancelled"
        return "done"

    requests = []
    for number in range(300):
        work = look_up() if number % 4 == 0 else read(dice.choice(residents), dice.random() * SECONDS)
        after = dice.random() * 20 * SECONDS if number % 3 == 0 else 0.0
        requests.append(cut_off(asyncio.create_task(work), after))
        if number % 10 == 9:
            await asyncio.sleep(0.002)
    outcomes = await asyncio.gather(*requests)
    assert outcomes.count("cancelled") >= 20, outcomes.count("cancelled")
    assert outcomes.count("done") >= 150
    assert len(seen) >= 100
    assert all(rows == [resident.canary] for resident, rows in seen)
    # Nothing is left in a transaction, and every connection serves the next request.
    for resident in residents:
        assert await names(several, resident) == [resident.canary]
    left = await superuser.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'tenantry_app' AND state LIKE 'idle in%'"
        " AND datname = current_database()"
    )
    assert left == 0


async def test_cancelled_in_the_rollback_the_connection_is_not_used_again(
    single: Database, residents: list[Resident], monkeypatch: pytest.MonkeyPatch
) -> None:
    ash, birch, *_ = residents
    rolling_back = asyncio.Event()
    execute = PoolConnectionProxy.execute

    async def hang(connection: Any, text: str, *values: Any) -> str:
        if text == "ROLLBACK":
            rolling_back.set()
            await asyncio.Event().wait()
        return await execute(connection, text, *values)

    async def request() -> None:
        async with single.tenant(ash.schema):
            raise LookupError

    before = await backend(single)
    with monkeypatch.context() as patch:
        patch.setattr(PoolConnectionProxy, "execute", hang)
        task = asyncio.create_task(request())
        await asyncio.wait_for(rolling_back.wait(), 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await names(single, birch) == [birch.canary]
    assert await backend(single) != before
