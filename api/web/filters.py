"""Filters: the conditions that narrow the list of a resource."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, bindparam, func, literal_column
from sqlalchemy.orm import InstrumentedAttribute

Column = InstrumentedAttribute[Any]


class Filter:
    """A condition that narrows a list.

    Args:
        column: the column to compare; the filter's value has the column's type.
        condition: returns the SQL condition for the column and the value.
    """

    def __init__(
        self, column: Column, condition: Callable[[Column, BindParameter[Any]], ColumnElement[bool]]
    ) -> None:
        self.column = column
        self.condition = condition

    def named(self, name: str) -> ColumnElement[bool]:
        """Return the condition with its value as a parameter called ``name``."""
        return self.condition(self.column, bindparam(name, type_=self.column.type))


def equals(column: Column) -> Filter:
    """Return a filter for rows whose ``column`` equals the value."""
    return Filter(column, lambda found, value: found == value)


def before(column: Column) -> Filter:
    """Return a filter for rows whose ``column`` is less than the value."""
    return Filter(column, lambda found, value: found < value)


def since(column: Column) -> Filter:
    """Return a filter for rows whose ``column`` equals the value or is greater."""
    return Filter(column, lambda found, value: found >= value)


def contains(column: Column) -> Filter:
    """Return a filter for rows whose text ``column`` contains the value, ignoring case."""
    return Filter(
        column, lambda found, value: func.strpos(func.lower(found), func.lower(value)) > literal_column("0")
    )


def includes(column: Column) -> Filter:
    """Return a filter for rows whose array, range or JSONB ``column`` includes all of the value (``@>``)."""
    return Filter(column, lambda found, value: found.op("@>", is_comparison=True)(value))
