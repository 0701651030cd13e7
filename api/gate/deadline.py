"""The deadline: no request runs for longer than a setting says, however many short statements it has.

What it was doing is cancelled; its transaction's connection is closed, and so rolled back.
"""

import asyncio
from typing import Final

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from db.errors import ProblemError

STREAM: Final = {"stream": True}
"""The route option of an answer that goes on for a while, within a bound of its own."""


class Deadline(ASGIMiddleware):
    """Cuts requests off.

    Args:
        seconds: how long one may take.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if scope["route_handler"].opt.get("stream"):
            await next_app(scope, receive, send)
            return
        limit = asyncio.timeout(self._seconds)
        try:
            async with limit:
                await next_app(scope, receive, send)
        except TimeoutError:
            if limit.expired():
                raise ProblemError("deadline") from None
            raise
