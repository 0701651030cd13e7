"""Moments: the one range of times and dates that Tenantry takes, wherever they come from.

PostgreSQL and asyncpg have infinite times: asyncpg sends Python's first and last day as ``-infinity`` and
``infinity``, and reads those back without an offset. A time near the edge also leaves the years 1 to 9999 in the
clock of a client. So the range ends a day before both edges.
"""

from datetime import UTC, date, datetime, time
from typing import Annotated, Final

from msgspec import Meta

from db.errors import InvalidValueError

EARLIEST: Final = date(1, 1, 2)
LATEST: Final = date(9999, 12, 30)

Moment = Annotated[datetime, Meta(tz=True)]
"""A time with an offset from UTC. `checked` or a column's codec checks its range."""

_RANGE: Final = f"beyond {EARLIEST} to {LATEST}"


def utc(moment: datetime) -> datetime:
    """Return ``moment`` in UTC.

    Raises:
        ValueError: the time has no offset, or is out of range in UTC.
    """
    if moment.tzinfo is None:
        raise ValueError("needs an offset from UTC, such as Z")
    try:
        chosen = moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{_RANGE} in UTC") from None
    if not EARLIEST <= chosen.date() <= LATEST:
        raise ValueError(f"{_RANGE} in UTC")
    return chosen


def local(value: date | time) -> date | time:
    """Return a date, or a time without an offset, as it is.

    Raises:
        ValueError: the value has an offset, or is out of range.
    """
    if isinstance(value, time | datetime) and value.tzinfo is not None:
        raise ValueError("has an offset from UTC, and a local time has none")
    day = value.date() if isinstance(value, datetime) else value
    if isinstance(day, date) and not EARLIEST <= day <= LATEST:
        raise ValueError(_RANGE)
    return value


def checked(moment: datetime, field: str) -> datetime:
    """Return ``moment`` in UTC.

    Args:
        moment: a time with an offset from UTC.
        field: name of the field that held the time, for the error.

    Raises:
        InvalidValueError: the time has no offset, or is out of range in UTC.
    """
    try:
        return utc(moment)
    except ValueError as error:
        raise InvalidValueError(field, str(error)) from None
