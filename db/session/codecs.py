"""Codecs: convert values to what asyncpg takes and from what it gives, by the SQL type of the column.

Most types need none, and cost nothing: asyncpg and msgspec agree on them. No codec is set on a connection, so
that statements on ``shared`` and asyncpg's own queries are not affected.
"""

from collections.abc import Callable
from typing import Any, Final, Generic, Literal, TypeVar

import asyncpg
import msgspec
from sqlalchemy import JSON, Date, DateTime, Time
from sqlalchemy.dialects.postgresql import CIDR, HSTORE, INET, TSTZRANGE
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.postgresql.ranges import (
    DATEMULTIRANGE,
    DATERANGE,
    TSMULTIRANGE,
    TSRANGE,
    TSTZMULTIRANGE,
    AbstractMultiRange,
    AbstractRange,
)
from sqlalchemy.types import ARRAY, TypeEngine

from db import moments

T = TypeVar("T")
Codec = Callable[[Any], Any]

DIALECT: Final = PGDialect_asyncpg()  # type: ignore[no-untyped-call]


class Range(msgspec.Struct, Generic[T], frozen=True, forbid_unknown_fields=True):
    """A range of values. A bound of null is no bound. PostgreSQL gives a range of whole numbers or dates as `[)`."""

    lower: T | None = None
    upper: T | None = None
    bounds: Literal["[)", "[]", "(]", "()", "empty"] = "[)"


def get_encoder(kind: TypeEngine[Any]) -> Codec | None:
    """Return the function that makes asyncpg's argument of a value, or None if the value is the argument.

    The function raises ValueError for a value that the type does not hold. It is not called for None.

    Args:
        kind: the SQL type of the parameter.
    """
    found: Codec | None = None
    kind = kind.dialect_impl(DIALECT)
    match kind:
        case ARRAY():
            found = _nested(get_encoder(kind.item_type), _depth(kind))
        case JSON():
            found = _to_json
        case HSTORE():
            found = kind.bind_processor(DIALECT)
        case AbstractMultiRange():
            found = _nested(_to_range(_bound(kind)))
        case AbstractRange():
            found = _to_range(_bound(kind))
        case DateTime(timezone=True):
            found = moments.utc
        case DateTime() | Date() | Time(timezone=False):
            found = moments.local
    return found


def get_decoder(kind: TypeEngine[Any], wanted: Any) -> Codec | None:
    """Return the function that makes a field's value of asyncpg's, or None if it is the same.

    The function is not called for None.

    Args:
        kind: the SQL type of the column.
        wanted: the field's type, by which JSON is decoded.
    """
    found: Codec | None = None
    kind = kind.dialect_impl(DIALECT)
    match kind:
        case ARRAY():
            found = _nested(get_decoder(kind.item_type, Any), _depth(kind))
        case JSON():
            found = msgspec.json.Decoder(wanted).decode
        case HSTORE():
            found = kind.result_processor(DIALECT, None)
        case AbstractMultiRange():
            found = _nested(_from_range)
        case AbstractRange():
            found = _from_range
        case INET() | CIDR():
            found = str
    return found


def _depth(kind: ARRAY[Any]) -> int | None:
    """Return how many dimensions an array has, or None if any number. A list may be an item of JSON."""
    return kind.dimensions or (1 if isinstance(kind.item_type, JSON) else None)


def _nested(codec: Codec | None, depth: int | None = None) -> Codec | None:
    """Return a codec for lists of what ``codec`` converts, ``depth`` lists deep; None is as deep as they go."""
    if codec is None:
        return None

    def convert(value: Any, left: int | None = depth) -> Any:
        if isinstance(value, list | tuple) and left != 0:
            return [convert(each, left and left - 1) for each in value]
        return None if value is None else codec(value)

    return convert


def _to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _bound(kind: TypeEngine[Any]) -> Codec:
    """Return the function that makes asyncpg's bound of a bound of a range."""
    match kind:
        case TSTZRANGE() | TSTZMULTIRANGE():
            return moments.utc
        case TSRANGE() | TSMULTIRANGE() | DATERANGE() | DATEMULTIRANGE():
            return moments.local
    return _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


def _to_range(bound: Codec) -> Codec:
    def convert(value: Any) -> Any:
        if not isinstance(value, Range):
            raise ValueError("not a range")  # noqa: TRY004 - callers tell a refused value by this class
        if value.bounds == "empty":
            return asyncpg.Range(empty=True)
        lower, upper = (None if each is None else bound(each) for each in (value.lower, value.upper))
        lower_inc, upper_inc = value.bounds[0] == "[", value.bounds[1] == "]"
        return asyncpg.Range(lower, upper, lower_inc=lower_inc, upper_inc=upper_inc)

    return convert


def _from_range(value: "asyncpg.Range[Any]") -> Range[Any]:
    if value.isempty:
        return Range(bounds="empty")
    bounds: Any = ("[" if value.lower_inc else "(") + ("]" if value.upper_inc else ")")
    return Range(value.lower, value.upper, bounds)
