"""Literals: the SQL of values that an online run sends as parameters.

Each value is what SQLAlchemy hands to asyncpg. asyncpg refuses some values that PostgreSQL would read as text,
such as ``"5"`` for an integer; so they are refused here too.
"""

import datetime as dt
import ipaddress
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import asyncpg
from sqlalchemy import types
from sqlalchemy.dialects.postgresql import ranges
from sqlalchemy.types import TypeEngine

from db.errors import TenantryError


class LiteralError(TenantryError):
    """A value that cannot be written as SQL, or that an online run would refuse."""


_ADDRESS: Final = (
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
    ipaddress.IPv4Interface,
    ipaddress.IPv6Interface,
)
_BOUNDS: Final[Mapping[str, TypeEngine[Any]]] = {
    "INT4RANGE": types.Integer(),
    "INT8RANGE": types.Integer(),
    "NUMRANGE": types.Numeric(),
    "DATERANGE": types.Date(),
    "TSRANGE": types.DateTime(),
    "TSTZRANGE": types.DateTime(timezone=True),
}
# What asyncpg encodes for a type; the first that fits counts.
_ACCEPTED: Final[tuple[tuple[type[TypeEngine[Any]], tuple[type, ...]], ...]] = (
    (types.Boolean, (bool,)),
    (types.Integer, (int,)),
    (types.Float, (float, int, Decimal)),
    (types.Numeric, (Decimal, int, float)),
    (types.DateTime, (dt.datetime, dt.date)),
    (types.Date, (dt.date,)),
    (types.Time, (dt.time,)),
    (types.Interval, (dt.timedelta,)),
    (types.LargeBinary, (bytes, bytearray, memoryview)),
    (types.String, (str,)),
)


def literal(value: Any, type_: TypeEngine[Any]) -> str:
    """Return a value as an SQL expression.

    Args:
        value: the value as SQLAlchemy hands it to asyncpg.
        type_: the type of the parameter.

    Raises:
        LiteralError: the value has no SQL form here, or asyncpg would refuse it for this type.
    """
    if value is None:
        return "NULL"
    if isinstance(type_, types.TypeDecorator):
        type_ = type_.impl_instance
    if isinstance(type_, types.ARRAY):
        return quoted(_array(value, type_.item_type))
    if isinstance(type_, types.JSON.JSONPathType) and isinstance(value, list):
        return quoted(_array(value, types.Text()))
    if isinstance(type_, ranges.AbstractMultiRange):
        return quoted(f"{{{','.join(_text(each, type_) for each in value)}}}")
    text = _text(value, type_)
    return text if isinstance(value, int | Decimal) and text.isdigit() else quoted(text)


def quoted(text: str) -> str:
    """Return text as a string literal, which means the same whatever ``standard_conforming_strings`` says.

    Raises:
        LiteralError: the text contains a NUL, which PostgreSQL cannot store.
    """
    if "\0" in text:
        raise LiteralError("a text with a NUL character cannot be stored")
    doubled = text.replace("'", "''")
    return "E'{}'".format(doubled.replace("\\", "\\\\")) if "\\" in text else f"'{doubled}'"


def _check(value: Any, type_: TypeEngine[Any]) -> None:
    for sort, accepted in _ACCEPTED:
        if isinstance(type_, sort):
            if not isinstance(value, accepted):
                raise LiteralError(f"{type(value).__name__} given for {type_!r}")
            return


def _text(value: Any, type_: TypeEngine[Any]) -> str:
    """Return the text form of a value, as PostgreSQL's input function for its type reads it."""
    _check(value, type_)
    if isinstance(value, float) and isinstance(type_, types.Numeric) and not isinstance(type_, types.Float):
        value = Decimal(value)  # as asyncpg does: all of the float's digits
    for sort, write in _TEXT.items():
        if isinstance(value, sort):
            return write(value, type_)
    raise LiteralError(
        f"a value of type {type(value).__name__} cannot be written as SQL"
        + (": give its column a type" if isinstance(type_, types.NullType) else "")
    )


def _datetime(value: dt.datetime, type_: TypeEngine[Any]) -> str:
    aware = isinstance(type_, types.DateTime) and type_.timezone
    if aware:
        value = value.astimezone(dt.UTC)  # as asyncpg does, also where there is no offset
    elif isinstance(type_, types.DateTime) and value.tzinfo is not None:
        raise LiteralError("a time with an offset given for a column without time zone")
    return _INFINITE.get(value.replace(tzinfo=None), value.isoformat(" "))


def _date(value: dt.date, type_: TypeEngine[Any]) -> str:
    if isinstance(type_, types.DateTime):
        return _datetime(dt.datetime(value.year, value.month, value.day), type_)  # noqa: DTZ001
    return _INFINITE.get(value, value.isoformat())


_INFINITE: Final[Mapping[dt.date, str]] = {
    dt.date.min: "-infinity",
    dt.date.max: "infinity",
    dt.datetime.min: "-infinity",  # noqa: DTZ901
    dt.datetime.max: "infinity",  # noqa: DTZ901
}
"""The dates and times that asyncpg sends, and returns, for PostgreSQL's infinite ones."""


def _interval(value: dt.timedelta, _: TypeEngine[Any]) -> str:
    return f"{value.days} days {value.seconds} seconds {value.microseconds} microseconds"


def _range(value: "asyncpg.Range[Any]", type_: TypeEngine[Any]) -> str:
    if value.isempty:
        return "empty"
    of = _BOUNDS.get(type_.__visit_name__.replace("MULTI", ""), types.NullType())
    lower, upper = (
        "" if bound is None else _within(_text(bound, of)) for bound in (value.lower, value.upper)
    )
    return f"{'[' if value.lower_inc else '('}{lower},{upper}{']' if value.upper_inc else ')'}"


def _array(value: Any, item: TypeEngine[Any]) -> str:
    if not isinstance(value, list | tuple):
        raise LiteralError(f"{type(value).__name__} given for an array")
    return f"{{{','.join(_element(each, item) for each in value)}}}"


def _element(value: Any, item: TypeEngine[Any]) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list | tuple):
        return _array(value, item)
    return _within(_text(value, item))


def _within(text: str) -> str:
    """Quote an element of an array or a bound of a range."""
    return '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))


_TEXT: Final[Mapping[type | tuple[type, ...], Callable[[Any, TypeEngine[Any]], str]]] = {
    str: lambda value, _: value,
    bool: lambda value, type_: (
        str(int(value)) if isinstance(type_, types.Integer | types.Numeric) else str(value).lower()
    ),
    int: lambda value, _: int.__repr__(value),  # an enumeration's str() is the member's name
    float: lambda value, _: float.__repr__(value),
    Decimal: lambda value, _: str(value),
    (bytes, bytearray, memoryview): lambda value, _: f"\\x{bytes(value).hex()}",
    UUID: lambda value, _: str(value),
    dt.datetime: _datetime,
    dt.date: _date,
    dt.time: lambda value, _: value.isoformat(),
    dt.timedelta: _interval,
    asyncpg.Range: _range,
    asyncpg.BitString: lambda value, _: value.as_string().replace(" ", ""),
    _ADDRESS: lambda value, _: str(value),
}
