"""Filters: how a filter of a list, each of whose fields may be None, becomes SQL."""

from collections.abc import Mapping
from typing import Any

import msgspec

from db import names


def conditions(wanted: msgspec.Struct, by_field: Mapping[str, str], arguments: list[Any]) -> list[str]:
    """Return the SQL conditions that a filter stands for; a field that is None adds none.

    Args:
        wanted: the filter. A field ``tenant`` is a slug.
        by_field: for each field, a condition with ``{}`` in place of its value.
        arguments: the statement's; the values are added to them.
    """
    found = []
    for field, condition in by_field.items():
        value = getattr(wanted, field)
        if value is not None:
            arguments.append(names.folded(value) if field == "tenant" else value)
            found.append(condition.format(f"${len(arguments)}"))
    return found
