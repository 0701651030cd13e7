"""Lists: ``limit`` and an opaque ``cursor``, answered as ``{"items": [...], "next_cursor": ...}``."""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter

from api.problems import invalid

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


_ROW: Final = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


def after(cursor: str | None, name: str) -> int:
    """Return the id that a page begins after, in the list ``name``, which is in the order of ids.

    Raises:
        Problem: the cursor is not one of ours, or of another list.
    """
    if cursor is None:
        return 0
    found, row = decode(cursor, str, _ROW)
    if found != name:
        raise invalid("cursor", "not a cursor of this list in this order")
    return int(row)


def page(items: Sequence[T], limit: int, name: str) -> Page[T]:
    """Return a page of the list ``name``.

    Args:
        items: in the order of their ids, one more than ``limit`` where there are more.
        limit: how many the page has at most.
        name: the list's.
    """
    more = len(items) > limit
    last: Any = items[limit - 1] if more else None
    return Page(items[:limit], encode(name, last.id) if more else None)


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
        raise invalid("cursor", "not a cursor of this list in this order") from None
    return keys
