"""Field types: constraints on values in bodies, queries and paths. PostgreSQL's text type allows no NUL."""

from datetime import UTC, datetime, time
from typing import Annotated

from litestar.params import PathParameter, QueryParameter
from msgspec import Meta

from db import moments, names
from db.errors import InvalidValueError

Line = names.Line
"""One line of text, at most 200 characters."""
Title = names.Title
"""One line of text, at most 500 characters."""
ShortName = names.ShortName
"""One line of text, at most 100 characters."""
Description = names.Description
"""Lines of text, at most 500 characters."""


def search(description: str, *, name: str | None = None, longest: int = 200) -> QueryParameter:
    """Return a query parameter whose text is only compared: annotate ``str | None`` with it.

    The constraints stand here because Litestar ignores those inside of an optional type.
    """
    return QueryParameter(name=name, max_length=longest, pattern=names.NO_NUL, description=description)


Search = Annotated[str | None, search("Text to find, whatever its case.")]
Slug = names.Slug
Revision = Annotated[str, Meta(min_length=1, max_length=100, pattern=names.LINE)]
Host = names.Host
Email = names.Email
Password = Annotated[str, Meta(min_length=8, max_length=256)]
Reason = names.Reason
Moment = moments.Moment
"""A time with an offset from UTC, within the range of `db.moments`."""
LocalTime = Annotated[time, Meta(tz=False)]
"""A time of day, without an offset from UTC."""
BigInt = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""A whole number of 64 bits. It is exact in JSON, but not in a client that reads numbers as doubles."""
RowId = Annotated[int, Meta(ge=1, le=2**31 - 1)]
"""The id of a row, in a body."""
Id = Annotated[int, PathParameter(ge=1, le=2**31 - 1)]
"""The id of a row, in a path."""


def future(moment: datetime | None, field: str) -> datetime | None:
    """Return ``moment`` in UTC, or None if it is None.

    Args:
        moment: a time with an offset from UTC.
        field: name of the field that held the time, for the error.

    Raises:
        InvalidValueError: the time has passed, or is out of range.
    """
    if moment is None:
        return None
    chosen = moments.checked(moment, field)
    if chosen <= datetime.now(UTC):
        raise InvalidValueError(field, "this has passed")
    return chosen
