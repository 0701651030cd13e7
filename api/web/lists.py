"""Lists: ``limit`` and an opaque ``cursor``, answered as ``{"items": [...], "next_cursor": ...}``."""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter

from db.errors import InvalidValueError

T = TypeVar("T")

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 100

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="Items at most.")]
Cursor = Annotated[
    str | None,
    QueryParameter(max_length=1000, description="`next_cursor` of the page before, with the same filters."),
]


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list; ``next_cursor`` is null on the last."""

    items: Sequence[T]
    next_cursor: str | None


ROW: Final = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
"""The id of a row, in a cursor."""


def wrong_cursor() -> InvalidValueError:
    """Return the error of a cursor that is not one of the list's."""
    return InvalidValueError("cursor", "not a cursor of this list in this order")


def encode(*keys: Any) -> str:
    """Return the cursor of the row that these keys end a page with."""
    return base64.urlsafe_b64encode(msgspec.json.encode(keys)).decode().rstrip("=")


def decode(cursor: str, *kinds: Any) -> tuple[Any, ...]:
    """Return a cursor's keys.

    Raises:
        Problem: it is not one of ours, or of another list or order.
    """
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        keys: tuple[Any, ...] = msgspec.json.decode(raw, type=tuple[kinds])  # type: ignore[valid-type]
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise wrong_cursor() from None
    return keys
