"""Marks: texts by which an answer is known as the right tenant's row. All of one kind are of one length."""

from collections.abc import Mapping
from typing import Any, Final

MARK: Final = "{mark}"
"""What stands for a mark in a body."""


def tenant_mark(number: int) -> str:
    """Return the text that stands in the rows of one tenant alone."""
    return f"t{number:06d}"


def row_mark(of: str, row: int) -> str:
    """Return the text that stands in one row of the tenant with the mark ``of``."""
    return f"{of}r{row:06d}"


def filled(body: Mapping[str, Any], mark: str) -> dict[str, Any]:
    """Return a body with a mark in its place."""
    return {
        name: value.replace(MARK, mark) if isinstance(value, str) else value for name, value in body.items()
    }
