"""Streams: what a resource becomes, as server-sent events (HTML Standard, "Server-sent events")."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

import msgspec
from litestar.response import ServerSentEvent
from litestar.response.sse import ServerSentEventMessage

T = TypeVar("T")

_SIGN_OF_LIFE: Final = 15.0
"""Seconds of silence after which a comment is sent, so that nobody between hangs up."""
_BREATH: Final = 0.1
"""Seconds between two looks, at least, however often something changes."""


def stream(
    first: T,
    look: Callable[[], Awaitable[T | None]],
    *,
    is_over: Callable[[T], bool],
    id_of: Callable[[T], str],
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    poll: float,
    limit: float,
) -> ServerSentEvent:
    """Return an answer that sends an event ``status`` for each change, until there will be none or a time is over.

    Args:
        first: the resource as it is now.
        look: returns the resource as it is then; None if it is gone.
        is_over: whether there will be no change any more.
        id_of: the event's id.
        wait: waits so many seconds, or until something may have changed.
        poll: seconds between two looks when nothing wakes it.
        limit: seconds after which the stream ends.
    """
    events = _events(first, look, is_over, id_of, wait, poll, time.monotonic() + limit)
    return ServerSentEvent(events, headers={"Cache-Control": "no-store"})


async def _events(
    first: T,
    look: Callable[[], Awaitable[T | None]],
    is_over: Callable[[T], bool],
    id_of: Callable[[T], str],
    wait: Callable[[float], Awaitable[None]],
    poll: float,
    until: float,
) -> AsyncIterator[ServerSentEventMessage]:
    seen: T | None = first
    told: bytes | None = None
    spoke = time.monotonic()
    while seen is not None:
        now = time.monotonic()
        said = msgspec.json.encode(seen)
        if said != told:
            told, spoke = said, now
            yield ServerSentEventMessage(data=said, event="status", id=id_of(seen))
        elif now - spoke >= _SIGN_OF_LIFE:
            spoke = now
            yield ServerSentEventMessage(data=None, comment="still here")
        if is_over(seen) or now >= until:
            return
        await wait(min(poll, max(until - now, 0.0)))
        await asyncio.sleep(max(now + _BREATH - time.monotonic(), 0))
        seen = await look()
