"""Requests cancelled at random moments, on a pool of two, role and statement in one message and one after the other."""

import time
from collections.abc import Callable
from pathlib import Path

import asyncpg

from db.session.tenancy import Database
from tests import cancelled
from tests.benchmarks.servers import servers
from tests.isolation import names, settle

_TENANTS = [f"cancelled{number}" for number in range(6)]


async def run(home: Path, *, seed: int, count: int, say: Callable[[str], None]) -> list[str]:
    """Make the requests, half of them each way; return what is wrong.

    Args:
        home: where the servers are.
        seed: of what is asked, and of when it is cancelled.
        count: how many requests to make.
        say: prints a line.
    """
    wrong: list[str] = []
    async with servers(home) as ground:
        owner = await asyncpg.connect(ground.config.require("owner_database_url"))
        residents = await settle(owner, ground.config, _TENANTS)
        await owner.close()
        for pipeline in (True, False):
            began = time.monotonic()
            database = await Database.connect(
                ground.config.require("database_url"), size=2, acquire_timeout=30, pipeline=pipeline
            )
            how = "in one message" if pipeline else "one after the other"
            try:
                ends = await cancelled.run(database, residents, seed=seed, count=count // 2)
                seen = [await names(database, resident) for resident in residents]
                if seen != [[resident.canary] for resident in residents]:
                    wrong.append(f"the tenants are not as they were, {how}")
            except AssertionError as error:
                wrong.append(f"a request saw what is not its own, {how}: {error}")
            else:
                say(f"requests, role and statement {how}: {dict(ends)}, {time.monotonic() - began:.0f} s")
            finally:
                await database.close()
    return wrong
