"""The deadline: middleware that ends requests which run for longer than REQUEST_DEADLINE.

PostgreSQL's statement timeout does not bound a request that runs many short statements. At the deadline the
handler is cancelled and its transaction is rolled back, a tenant transaction by closing its connection.
"""

import asyncio
from typing import Final

from litestar.types import ASGIApp, Receive, Scope, Send

from db.deadlines import Deadlines
from db.errors import ProblemError

STREAM: Final = {"stream": True}
"""Options of a route that streams its answer: the deadline does not apply, the route has its own limit."""


class Deadline:
    """Middleware that answers a ``deadline`` problem for a request that takes too long. It must be the outermost.

    Args:
        seconds: how long a request may take.
    """

    def __init__(self, seconds: float) -> None:
        self._deadlines = Deadlines(seconds)

    def __call__(self, app: ASGIApp) -> ASGIApp:
        """Return ``app`` with the deadline before it."""
        deadlines = self._deadlines

        async def limited(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["route_handler"].opt.get("stream"):
                await app(scope, receive, send)
                return
            task = asyncio.current_task(deadlines.loop)
            assert task is not None
            cancelling = task.cancelling()
            deadline = deadlines.start(task.cancel)
            try:
                await app(scope, receive, send)
            except asyncio.CancelledError:
                if deadline.late and task.uncancel() <= cancelling:
                    raise ProblemError("deadline") from None
                raise
            finally:
                deadlines.stop(deadline)

        return limited
