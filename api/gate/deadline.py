"""The deadline: middleware that ends requests which run for longer than REQUEST_DEADLINE.

PostgreSQL's statement timeout does not bound a request that runs many short statements. At the deadline the
handler is cancelled and its transaction is rolled back, a tenant transaction by closing its connection.
"""

import asyncio
from typing import Final

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from db.errors import ProblemError

STREAM: Final = {"stream": True}
"""Options of a route that streams its answer: the deadline does not apply, the route has its own limit."""


class Deadline(ASGIMiddleware):
    """Middleware that answers a ``deadline`` problem for a request that takes too long.

    Args:
        seconds: how long a request may take.
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
