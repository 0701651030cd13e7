"""Lists: parameters, cursors and pages of routes that list things.

A request has a ``limit`` and an opaque ``cursor``; the answer is ``{"items": [...], "next_cursor": ...}``.
"""

import base64
import binascii
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter

from db.errors import InvalidValueError

T = TypeVar("T")

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 100
_LONGEST: Final = 16_000
"""Characters of a cursor. Its key has six bytes a character at most, in JSON: 1,900 characters always fit."""

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="Items at most.")]
Cursor = Annotated[
    str | None,
    QueryParameter(
        max_length=_LONGEST, description="`next_cursor` of the page before, with the same filters."
    ),
]


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list. ``next_cursor`` is null on the last page."""

    items: Sequence[T]
    next_cursor: str | None


ROW: Final = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
"""The id of a row, in a cursor."""


def wrong_cursor() -> InvalidValueError:
    """Return the error for a cursor that does not belong to the list."""
    return InvalidValueError("cursor", "not a cursor of this list in this order")


def encode(*keys: Any) -> str:
    """Return the cursor for a page whose last row has these keys."""
    return base64.urlsafe_b64encode(msgspec.json.encode(keys)).decode().rstrip("=")


@cache
def _decoder(kinds: tuple[Any, ...]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(tuple[kinds])  # type: ignore[valid-type]


def decode(cursor: str, *kinds: Any) -> tuple[Any, ...]:
    """Return a cursor's keys.

    Args:
        cursor: the cursor as the client sent it.
        kinds: the types of its keys.

    Raises:
        InvalidValueError: the cursor cannot be decoded, or its keys have other types.
    """
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        keys: tuple[Any, ...] = _decoder(kinds).decode(raw)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise wrong_cursor() from None
    return keys
