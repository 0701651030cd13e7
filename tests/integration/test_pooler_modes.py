"""A pooler's mode is found out when a connection is opened, each time, whatever other clients it has."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from db.session import address, pooler
from db.session.pooler import PooledError
from db.settings import Settings
from tests.pgbouncer import PgBouncer, carrying, pooled


@pytest.fixture
async def front(config: Settings, tmp_path: Path) -> AsyncIterator[PgBouncer]:
    """A pooler in session mode in front of the test's server."""
    async with pooled(tmp_path / "pooler", config) as pooler:
        yield pooler


async def looked_at(url: str) -> str:
    """Open a connection, and return what was found to be between."""
    try:
        connection = await address.connect(url)
    except PooledError:
        return "pooled"
    try:
        return "direct" if await pooler.get_pooled(connection) is None else "session"
    finally:
        connection.terminate()


@pytest.mark.parametrize("turns", ["0", "1"], ids=["last-first", "round-robin"])
@pytest.mark.parametrize(("mode", "size"), [("transaction", "2"), ("transaction", "20"), ("statement", "5")])
async def test_other_modes_than_session_are_found_out_each_time(
    config: Settings, front: PgBouncer, mode: str, size: str, turns: str
) -> None:
    url = front.url(config.require("database_url"))
    for extra in carrying():  # which makes prepared statements work, and no session
        await front.configure(pool_mode=mode, default_pool_size=size, server_round_robin=turns, **extra)
        assert [await looked_at(url) for _ in range(10)] == ["pooled"] * 10


async def test_other_clients_do_not_hide_the_mode(config: Settings, front: PgBouncer) -> None:
    url = front.url(config.require("database_url"))
    await front.configure(pool_mode="transaction", default_pool_size="5")
    over = asyncio.Event()

    async def work() -> int:
        client = await asyncpg.connect(url, statement_cache_size=0)
        count = 0
        while not over.is_set():
            await client.execute("BEGIN; SELECT 1; COMMIT")
            count += 1
        client.terminate()
        return count

    others = [asyncio.create_task(work()) for _ in range(3)]
    found = [await looked_at(url) for _ in range(10)]
    over.set()
    assert min(await asyncio.gather(*others)) > 10
    assert found == ["pooled"] * 10


async def test_session_mode_and_no_pooler_are_allowed_each_time(config: Settings, front: PgBouncer) -> None:
    direct = config.require("database_url")
    assert [await looked_at(direct) for _ in range(10)] == ["direct"] * 10
    assert [await looked_at(front.url(direct)) for _ in range(10)] == ["session"] * 10


async def test_a_full_pooler_in_session_mode_is_allowed(config: Settings, front: PgBouncer) -> None:
    url = front.url(config.require("database_url"))
    await front.configure(default_pool_size="3")
    async with AsyncExitStack() as opened:
        for _ in range(2):
            client = await asyncpg.connect(url)
            opened.callback(client.terminate)
            await client.execute("SELECT 1")
        assert await looked_at(url) == "session"


async def test_the_pooler_is_found_behind_one_of_several_hosts(config: Settings, front: PgBouncer) -> None:
    url = front.url(config.require("database_url"))
    several = url.replace("@127.0.0.1", "@127.0.0.1:1,127.0.0.1")
    assert await looked_at(several) == "session"
    await front.configure(pool_mode="transaction")
    assert await looked_at(several) == "pooled"


async def test_settings_of_a_session_are_in_force_behind_a_pooler(config: Settings, front: PgBouncer) -> None:
    url = front.url(config.require("owner_database_url"))
    connection = await address.connect(url, server_settings={"search_path": "shared", "lock_timeout": "1234"})
    assert await connection.fetchval("SHOW search_path") == "shared"
    assert await connection.fetchval("SHOW lock_timeout") == "1234ms"
    await connection.close()
