"""Failures: which are worth another try, which are not, and which say nothing about the message."""

import random
import traceback
from pathlib import Path
from types import TracebackType
from typing import Final

import asyncpg

from db.ledger.inbox import Failure

AWAY: Final = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # asyncpg's word for a connection that broke at the wrong moment
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
)
"""PostgreSQL cannot be reached, or is going (SQLSTATE 08*, 57P01 to 57P03)."""

TRANSIENT: Final = (
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,  # 40*: deadlocks and serialization failures
    asyncpg.QueryCanceledError,
    asyncpg.InsufficientResourcesError,  # 53*: disk full, out of memory, too many connections
    asyncpg.ObjectInUseError,
    OSError,  # the work's own, such as a disk's; also time-outs
)
"""The same attempt may well succeed later."""

NOT_NOW: Final = (*AWAY, *TRANSIENT)
"""What a loop that runs for ever waits out: PostgreSQL is away, full, or in somebody's hands."""

CRASH_LOOP: Final = "crash_loop"


class BusyError(Exception):
    """Somebody else is working on the tenant."""


def failure(error: BaseException) -> Failure:
    """Describe an error for the ledger: its class, its words, its traceback. Never a row's values."""
    words = str(error)
    detail = getattr(error, "detail", None)
    text = "".join(traceback.format_exception(error))
    if detail:  # PostgreSQL's DETAIL quotes values
        words, text = words.replace(detail, "..."), text.replace(detail, "...")
    return Failure(
        type(error).__name__,
        words[:2000].replace("\0", ""),
        text[-20_000:].replace("\0", ""),
        frame(error.__traceback__),
    )


_PROJECT: Final = Path(__file__).resolve().parent.parent
_OURS: Final = ("api", "db", "provisioner", "alembic")


def frame(trace: TracebackType | None) -> str | None:
    """Return the innermost frame of this program, since a driver's says nothing about the cause."""
    frames = traceback.extract_tb(trace)
    for entry in reversed(frames):
        file = Path(entry.filename)
        if file.is_relative_to(_PROJECT):
            inside = file.relative_to(_PROJECT)
            if inside.parts[0] in _OURS:
                return f"{inside.as_posix()}:{entry.lineno} in {entry.name}"
    last = frames[-1] if frames else None
    return f"{Path(last.filename).name}:{last.lineno} in {last.name}" if last else None


def crash_loop(attempts: int) -> Failure:
    """Describe a message whose attempts were all cut short, by a dying process as a rule."""
    return Failure(CRASH_LOOP, f"given up after {attempts} attempts that never came to an end")


def backoff(attempts: int, *, base: float, cap: float) -> float:
    """Return the seconds to wait after the given number of attempts: doubling, with jitter."""
    return float(min(cap, base * 2 ** min(attempts - 1, 30)) * random.uniform(0.5, 1.0))  # noqa: S311
