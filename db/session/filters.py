"""Conversion of list filters, whose fields may be None, to SQL conditions."""

from collections.abc import Mapping
from typing import Any

import msgspec

from db import names


def conditions(wanted: msgspec.Struct, by_field: Mapping[str, str], arguments: list[Any]) -> list[str]:
    """Return the SQL conditions of a filter. A field that is None adds no condition.

    Args:
        wanted: the filter. A field named ``tenant`` is a slug.
        by_field: for each field, a condition with ``{}`` in place of the value.
        arguments: the statement's arguments, to which the values are appended.
    """
    found = []
    for field, condition in by_field.items():
        value = getattr(wanted, field)
        if value is not None:
            arguments.append(names.folded(value) if field == "tenant" else value)
            found.append(condition.format(f"${len(arguments)}"))
    return found
