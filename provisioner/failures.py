"""Failures: classifies errors as permanent, transient or unrelated to the message; how long to wait (`backoff`)."""

import random
import re
import traceback
from pathlib import Path
from types import TracebackType
from typing import Final

import asyncpg

from db.ledger.contracts import ContractError
from db.ledger.inbox import Failure
from db.session.address import AddressError
from db.session.pooler import PooledError

AWAY: Final = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg raises for a connection that broke at the wrong moment
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    AddressError,  # its certificate is not to be trusted
    PooledError,
)
"""PostgreSQL cannot be reached, or not as it must be, or is shutting down (SQLSTATE 08*, 57P01 to 57P03)."""

TRANSIENT: Final = (
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,  # 40*: deadlocks and serialization failures
    asyncpg.QueryCanceledError,
    asyncpg.InsufficientResourcesError,  # 53*: disk full, out of memory, too many connections
    asyncpg.ObjectInUseError,
    OSError,  # of the work itself, such as a disk error; also time-outs
)
"""Errors after which the same attempt may succeed later."""

NOT_NOW: Final = (*AWAY, *TRANSIENT)
"""Errors that an endless loop waits out: PostgreSQL is away, full or blocked by a lock."""


def is_passing(error: BaseException) -> bool:
    """Return whether an error is one of `NOT_NOW`, and not a value that the driver cannot encode.

    asyncpg's error for that is an `InterfaceError` too. It comes again each time.
    """
    return isinstance(error, NOT_NOW) and not is_unencodable(error)


def is_unencodable(error: BaseException) -> bool:
    """Return whether an error is that of the driver for a value that does not fit its parameter's type."""
    return isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)


CRASH_LOOP: Final = "crash_loop"


BUSY_DELAY: Final = 0.5
"""Seconds until a command whose tenant or row is in use is delivered again."""


class BusyError(Exception):
    """It is not the command's turn; its attempt is given back.

    Args:
        delay: seconds until the command is delivered again.
    """

    def __init__(self, delay: float = BUSY_DELAY) -> None:
        super().__init__(delay)
        self.delay = delay


MISFITS: Final = (asyncpg.UndefinedColumnError, asyncpg.UndefinedTableError, asyncpg.NotNullViolationError)
"""Errors by which tables show that they are other than this release takes them to be."""


class NewerReleaseError(Exception):
    """The command is for a newer release, and waits for a provisioner of that; its attempt is given back.

    Args:
        error_class: the class under which operators find the command.
        what: what this release does not know.
        because: the error that it came out by, if there was one.
    """

    def __init__(self, error_class: str, what: str, because: Exception | None = None) -> None:
        words = f"this release does not know {what}: a newer provisioner must handle it"
        super().__init__(f"{words} ({type(because).__name__})" if because else words)
        self.failure = Failure(error_class, str(self))


_TYPE: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


def unhandled(type_: str) -> NewerReleaseError | ContractError:
    """Return the error of a command that has no handler here: its type may be a newer release's, or is none."""
    if _TYPE.fullmatch(type_):
        return NewerReleaseError("UnknownTypeError", f"commands of type {type_}")
    return ContractError(f"no type of commands: {type_}")


def failure(error: BaseException) -> Failure:
    """Return an error's class, message, traceback and frame for the ledger, without values from rows."""
    words = str(error)
    detail = getattr(error, "detail", None)
    text = "".join(traceback.format_exception(error))
    if detail:  # PostgreSQL's DETAIL quotes values from rows
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
    """Return the innermost frame of this program, since a driver's frame says nothing about the cause.

    Return the innermost frame of all if none is this program's, or None for an empty traceback.
    """
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
    """Return the failure of a command whose attempts were all cut short, usually because the process died."""
    return Failure(CRASH_LOOP, f"given up after {attempts} attempts that never came to an end")


def backoff(attempts: int, *, base: float, cap: float) -> float:
    """Return the seconds to wait after this number of attempts.

    Args:
        attempts: attempts made so far, at least 1.
        base: seconds to wait after the first; they double with each, times a random factor of 0.5 to 1.
        cap: seconds to wait at most.
    """
    return float(min(cap, base * 2 ** min(attempts - 1, 30)) * random.uniform(0.5, 1.0))  # noqa: S311
