"""The pool: tenants use a connection in turn, and nothing of one is left on it for the next."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from db.session.tenancy import Database
from db.session.transaction import PoisonedError
from db.settings import Settings
from tests import cancelled
from tests.isolation import ADD_NAME, FAILS, NAMES, WHO, Resident, backend, names, settle


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
async def two(config: Settings, pipeline: bool) -> AsyncIterator[Database]:
    """A database with two connections."""
    database = await Database.connect(
        config.require("database_url"), size=2, acquire_timeout=30, pipeline=pipeline
    )
    yield database
    await database.close()


async def poison(database: Database, statement: str) -> None:
    """Leave something on a connection that goes back to the pool, as if nothing had to be reset."""
    link = await database.take("shared")
    await link.connection.execute(statement)
    database.give(link, "shared")


@pytest.mark.parametrize("statement", ["SET ROLE {ash}", "SET ROLE {birch}"])
@pytest.mark.parametrize("how", ["reads", "transaction"])
async def test_a_poisoned_connection_is_dropped_and_the_next_request_is_served(
    single: Database, residents: list[Resident], statement: str, how: str
) -> None:
    ash, birch, *_ = residents

    async def read() -> list[str]:
        if how == "transaction":
            return await names(single, birch)
        return [row["first_name"] for row in await single.reads(birch.schema).fetch(NAMES)]

    before = await backend(single)
    for _ in range(2):  # with the statement prepared, and without
        assert await read() == [birch.canary]
        await poison(single, statement.format(ash=ash.schema, birch=birch.schema))
        with pytest.raises(PoisonedError):
            await read()
        assert await read() == [birch.canary]
        assert await backend(single) != before


async def test_a_poisoned_connection_shows_the_login_nothing_either(
    single: Database, residents: list[Resident]
) -> None:
    await poison(single, f"SET ROLE {residents[0].schema}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with single.shared() as connection:
            await connection.fetch("SELECT id FROM shared.tenants")


async def test_a_connection_in_a_transaction_is_not_used_again(
    single: Database, residents: list[Resident]
) -> None:
    before = await backend(single)
    await poison(single, "BEGIN")
    assert await names(single, residents[0]) == [residents[0].canary]
    assert await backend(single) != before


async def test_release_takes_role_settings_locks_and_transaction_off_a_connection(
    single: Database, residents: list[Resident], superuser: asyncpg.Connection
) -> None:
    ash, birch, *_ = residents
    before = await backend(single)
    async with single.shared() as connection:
        await connection.execute("COMMIT")
        await connection.execute(
            f"SET ROLE {ash.schema}; SET statement_timeout = 1; SET search_path = {ash.schema}"
        )
        await connection.execute("LISTEN tenantry_registry")
        await connection.execute("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1")
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
    two: Database, residents: list[Resident], superuser: asyncpg.Connection
) -> None:
    """Cancelled in the queue, before and after a message is sent, in the commit, in the rollback."""
    ends = await cancelled.run(two, residents, seed=20, count=2_000)
    assert ends["cancelled"] >= 400, ends
    assert ends["done"] >= 600
    assert ends["undone"] >= 100
    # Nothing is left in a transaction, and every connection serves the next request.
    for resident in residents:
        assert await names(two, resident) == [resident.canary]
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
    execute = asyncpg.Connection.execute

    async def hang(connection: Any, text: str, *values: Any) -> str:
        if text == "ROLLBACK":
            rolling_back.set()
            await asyncio.Event().wait()
        return await execute(connection, text, *values)

    async def request() -> None:
        async with single.tenant(ash.schema) as transaction:
            await transaction.fetch(NAMES)
            raise LookupError

    before = await backend(single)
    with monkeypatch.context() as patch:
        patch.setattr(asyncpg.Connection, "execute", hang)
        task = asyncio.create_task(request())
        await asyncio.wait_for(rolling_back.wait(), 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await names(single, birch) == [birch.canary]
    assert await backend(single) != before
