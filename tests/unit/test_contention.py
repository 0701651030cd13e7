"""What other databases' sessions get in the way of is tried again, a bounded number of times; nothing else is."""

import asyncpg
import pytest

from db.server import contention


def raised(kind: type[asyncpg.PostgresError], message: str = "", **fields: str) -> asyncpg.PostgresError:
    error = kind(message)
    for name, value in fields.items():
        setattr(error, name, value)
    return error


PASSES = [
    raised(asyncpg.InternalServerError, "tuple concurrently updated"),
    raised(asyncpg.InternalServerError, "tuple concurrently deleted"),
    raised(asyncpg.UniqueViolationError, schema_name="pg_catalog"),
    raised(asyncpg.DuplicateObjectError),
    raised(asyncpg.DeadlockDetectedError),
    raised(asyncpg.ObjectInUseError),
]
STAYS = [
    raised(asyncpg.InternalServerError, "cache lookup failed"),
    raised(asyncpg.UniqueViolationError, schema_name="shared"),
    raised(asyncpg.InsufficientPrivilegeError),
]


class Work:
    """Fails a number of times, then returns how often it was called."""

    def __init__(self, error: Exception, failures: int) -> None:
        self.error, self.failures, self.calls = error, failures, 0

    async def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return self.calls


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contention, "_PAUSE", 0)


@pytest.mark.parametrize("error", PASSES, ids=repr)
async def test_contention_is_tried_again_and_not_for_ever(error: asyncpg.PostgresError) -> None:
    assert await contention.retried(Work(error, 3)) == 4
    work = Work(error, 100)
    with pytest.raises(type(error)):
        await contention.retried(work)
    assert work.calls == 8


@pytest.mark.parametrize("error", STAYS, ids=repr)
async def test_other_errors_are_raised_at_once(error: asyncpg.PostgresError) -> None:
    work = Work(error, 1)
    with pytest.raises(type(error)):
        await contention.retried(work)
    assert work.calls == 1
