"""Sessions of several databases that change the same roles at once: roles are the cluster's, locks a database's."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import asyncpg

T = TypeVar("T")

_TRIES: Final = 8
_PAUSE: Final = 0.05
"""Seconds before the second try at most; they double with each."""


def is_contention(error: asyncpg.PostgresError) -> bool:
    """Say whether the same transaction may succeed once another one, which changed the same roles, is over."""
    match error:
        case asyncpg.UniqueViolationError():
            return error.schema_name == "pg_catalog"
        case asyncpg.InternalServerError():
            return "tuple concurrently" in str(error)  # never translated
        case _:
            return isinstance(
                error, asyncpg.DuplicateObjectError | asyncpg.DeadlockDetectedError | asyncpg.ObjectInUseError
            )


async def retried(work: Callable[[], Awaitable[T]]) -> T:
    """Run a whole transaction, again if others changed the same roles, a bounded number of times.

    Args:
        work: begins and ends the transaction.
    """
    for tried in range(_TRIES - 1):
        try:
            return await work()
        except asyncpg.PostgresError as error:
            if not is_contention(error):
                raise
        await asyncio.sleep(random.uniform(0.5, 1) * _PAUSE * 2**tried)  # noqa: S311 - no secret
    return await work()
