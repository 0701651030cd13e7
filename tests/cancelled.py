"""Requests that are cancelled at random moments: none sees another tenant's row, and none leaves a role behind."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

from sqlalchemy import bindparam, func, select

from db.models.access import User
from db.session.statements import Statement
from db.session.tenancy import Database
from tests.isolation import ADD_NAME, NAMES, WHO, Resident

SLEEPS = Statement(select(User.first_name, func.pg_sleep(bindparam("seconds"))))
_AT_ONCE = 8
_LONGEST = 0.004
"""Seconds that a statement sleeps, at most."""
_WAIT = 0.012
"""Seconds until a request is cancelled, at most."""


async def run(database: Database, residents: Sequence[Resident], *, seed: int, count: int) -> Counter[str]:
    """Make requests, half of which are cancelled; return how many ended how.

    Args:
        database: with fewer connections than requests at once.
        residents: the tenants.
        seed: of what is asked, and of when it is cancelled.
        count: how many requests to make.

    Raises:
        AssertionError: a request saw a row that is not its tenant's, or ran with another role.
    """
    dice = random.Random(seed)
    ends: Counter[str] = Counter()
    left = iter(range(count))

    async def client() -> None:
        for _ in left:
            work = _request(database, dice.choice(residents), dice.randrange(5), dice.random() * _LONGEST)
            after = dice.random() * _WAIT if dice.random() < 0.5 else None
            ends[await _ended(asyncio.create_task(work), after)] += 1

    await asyncio.gather(*(client() for _ in range(_AT_ONCE)))
    return ends


async def _request(database: Database, resident: Resident, kind: int, seconds: float) -> None:
    if kind == 0:
        rows = await database.reads(resident.schema).fetch(NAMES)
        assert [row["first_name"] for row in rows] == [resident.canary]
    elif kind == 1:
        row = await database.reads(resident.schema).fetchrow(SLEEPS, seconds=seconds)
        assert row is not None
        assert row["first_name"] == resident.canary
    elif kind == 2:
        async with database.tenant(resident.schema) as transaction:
            assert [row["first_name"] for row in await transaction.fetch(NAMES)] == [resident.canary]
            await transaction.fetch(SLEEPS, seconds=seconds)
            who = await transaction.fetchrow(WHO)
            assert who is not None
            assert (who[0], who[1]) == (resident.schema, "tenantry_app")
    elif kind == 3:
        async with database.tenant(resident.schema) as transaction:
            await transaction.fetch(ADD_NAME, name="undone")
            await transaction.fetch(SLEEPS, seconds=seconds)
            raise _UndoneError
    else:
        async with database.shared() as connection:
            who = await connection.fetchrow("SELECT current_user, session_user FROM shared.tenants LIMIT 1")
            assert who is not None
            assert who[0] == who[1] == "tenantry_app"


class _UndoneError(Exception):
    """Raised to undo a transaction."""


async def _ended(task: "asyncio.Task[None]", after: float | None) -> str:
    if after is not None:
        await asyncio.wait({task}, timeout=after)
        task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return "cancelled"
    except _UndoneError:
        return "undone"
    return "done"
