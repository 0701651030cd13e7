"""The pool hands out connections fairly, keeps tenants where they were, and replaces connections in time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import bindparam, func, select

from db.models.access import User
from db.session import link, pool
from db.session.failures import UnavailableError
from db.session.statements import Statement
from db.session.tenancy import Database
from db.settings import Settings
from tests.isolation import NAMES, WHO, Resident, backend, names, settle
from tests.support import eventually

SLEEPS = Statement(select(User.first_name, func.pg_sleep(bindparam("seconds"))))


@pytest.fixture
async def five(config: Settings, pipeline: bool) -> AsyncIterator[Database]:
    """A database with five connections, four of which one tenant may hold."""
    database = await Database.connect(
        config.require("database_url"), size=5, acquire_timeout=10, pipeline=pipeline
    )
    yield database
    await database.close()


async def served_by(database: Database, resident: Resident) -> int:
    """Return the process id of the connection that serves a tenant's request."""
    row = await database.reads(resident.schema).fetchrow(WHO)
    assert row is not None
    return int(row[2])


async def test_a_tenant_that_floods_takes_the_pool_from_nobody(
    owner: asyncpg.Connection, config: Settings, five: Database
) -> None:
    flooding, *quiet = await settle(owner, config, [f"tenant{number}" for number in range(21)])
    ended: list[Resident] = []

    async def request(resident: Resident) -> None:
        await five.reads(resident.schema).fetch(SLEEPS, seconds=0.02)
        ended.append(resident)

    flood = [asyncio.create_task(request(flooding)) for _ in range(200)]
    await asyncio.sleep(0)
    await asyncio.gather(*flood, *(request(resident) for resident in quiet))
    last = max(ended.index(resident) for resident in quiet)
    assert ended[:last].count(flooding) < 50, "the quiet ones waited for the flood"


async def test_the_flood_and_a_request_of_another_take_turns(
    five: Database, residents: list[Resident]
) -> None:
    flooding, slow, quiet = residents
    ended: list[str] = []

    async def request(resident: Resident, seconds: float) -> None:
        await five.reads(resident.schema).fetch(SLEEPS, seconds=seconds)
        ended.append(resident.slug)

    others = [asyncio.create_task(request(slow, 1.0)) for _ in range(4)]
    flood = [asyncio.create_task(request(flooding, 0.01)) for _ in range(40)]
    await asyncio.sleep(0.05)
    await request(quiet, 0)
    assert ended.count(flooding.slug) < 20
    await asyncio.gather(*others, *flood)


async def test_a_tenant_can_hold_no_more_than_its_share(five: Database, residents: list[Resident]) -> None:
    greedy, other, _ = residents
    async with contextlib.AsyncExitStack() as held:
        for _ in range(4):
            transaction = await held.enter_async_context(five.tenant(greedy.schema))
            await transaction.fetch(NAMES)
        fifth = asyncio.create_task(names(five, greedy))
        assert await names(five, other) == [other.canary]  # on the one that is left
        assert not fifth.done()
    assert await fifth == [greedy.canary]


async def test_a_tenant_is_served_by_the_connection_that_served_it_before(
    five: Database, owner: asyncpg.Connection, config: Settings
) -> None:
    tenants = await settle(owner, config, [f"tenant{number}" for number in range(10)])
    for _ in range(3):  # opens all connections
        await asyncio.gather(*(served_by(five, resident) for resident in tenants))
    homes = [await served_by(five, resident) for resident in tenants]
    assert len(set(homes)) > 1
    assert [await served_by(five, resident) for resident in tenants] == homes
    assert [await served_by(five, resident) for resident in reversed(tenants)] == homes[::-1]


@pytest.mark.parametrize(("memory", "replaced"), [(1 << 16, True), (1 << 30, False)])
async def test_a_connection_whose_server_process_has_grown_is_replaced(
    config: Settings,
    residents: list[Resident],
    monkeypatch: pytest.MonkeyPatch,
    memory: int,
    replaced: bool,
) -> None:
    monkeypatch.setattr(pool, "_LOOK_EVERY", 5)
    database = await Database.connect(
        config.require("database_url"), size=1, acquire_timeout=5, memory=memory
    )
    before = await served_by(database, residents[0])
    seen = {await served_by(database, residents[0]) for _ in range(12)}
    assert (len(seen | {before}) > 1) == replaced
    await database.close()


async def test_where_memory_cannot_be_looked_at_connections_are_replaced_by_use(
    config: Settings,
    residents: list[Resident],
    superuser: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "_LOOK_EVERY", 5)
    monkeypatch.setattr(pool, "_MOST_RUNS", 20)
    await superuser.execute(
        "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_get_backend_memory_contexts() FROM tenantry_app"
    )
    database = await Database.connect(config.require("database_url"), size=1, acquire_timeout=5, memory=1)
    seen = [await served_by(database, residents[0]) for _ in range(30)]
    assert len(set(seen[:20])) == 1
    assert len(set(seen)) == 2
    await database.close()


async def test_a_connection_keeps_as_many_statements_as_it_may(
    single: Database,
    residents: list[Resident],
    superuser: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await superuser.execute("GRANT EXECUTE ON FUNCTION pg_catalog.pg_prepared_statement() TO tenantry_app")
    monkeypatch.setattr(link, "STATEMENTS", 2)
    before = await backend(single)
    for _ in range(3):
        for resident in residents:
            assert await names(single, resident) == [resident.canary]
            assert [row[0] for row in await single.reads(resident.schema).fetch(NAMES)] == [resident.canary]
    async with single.shared() as connection:
        kept = await connection.fetchval(
            "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%users%'"
        )
    assert kept <= 3  # what was put out last is closed when the next statement is prepared
    assert await backend(single) == before


async def test_who_is_cancelled_when_it_is_its_turn_hands_the_connection_on(
    single: Database, residents: list[Resident]
) -> None:
    ash, birch, _ = residents
    for _ in range(3):
        async with single.tenant(ash.schema) as transaction:
            await transaction.fetch(NAMES)
            first, second = (asyncio.create_task(names(single, birch)) for _ in range(2))
            await asyncio.sleep(0)
        first.cancel()  # has just been given the connection, and does not know yet
        assert await second == [birch.canary]
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_connections_that_are_to_go_do_so_when_they_are_given_back(
    single: Database, residents: list[Resident], superuser: asyncpg.Connection
) -> None:
    async with single.tenant(residents[0].schema) as transaction:
        await transaction.fetch(NAMES)
        single._pool.expire()
        row = await transaction.fetchrow(WHO)
        assert row is not None
    assert await backend(single) != row[2]

    async def gone() -> bool:
        return not await superuser.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", row[2])

    await eventually(gone, what="the end of the old connection")


async def test_idle_connections_are_closed_when_others_are_given_back(
    five: Database, residents: list[Resident], monkeypatch: pytest.MonkeyPatch, superuser: asyncpg.Connection
) -> None:
    await asyncio.gather(*(five.reads(residents[0].schema).fetch(SLEEPS, seconds=0.05) for _ in range(4)))
    monkeypatch.setattr(pool, "_IDLE", 0.0)
    await names(five, residents[0])

    async def one_left() -> bool:
        return bool(
            await superuser.fetchval(
                "SELECT count(*) = 1 FROM pg_stat_activity"
                " WHERE usename = 'tenantry_app' AND datname = current_database()"
            )
        )

    await eventually(one_left, what="one connection left")


async def test_all_who_wait_are_told_when_no_connection_can_be_opened(
    config: Settings, residents: list[Resident]
) -> None:
    nowhere = config.require("database_url").replace("tenantry_app:", "nobody:", 1)
    database = await Database.connect(nowhere, size=2, acquire_timeout=10)
    answers = await asyncio.gather(*(names(database, residents[0]) for _ in range(5)), return_exceptions=True)
    assert {type(answer) for answer in answers} <= {
        UnavailableError,
        asyncpg.InvalidPasswordError,
        asyncpg.InvalidAuthorizationSpecificationError,
    }
    await database.close()
