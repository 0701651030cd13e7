"""Answers: each is stamped with its request's id and counted as it begins, whoever gives it."""

import time
from collections.abc import Awaitable

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from api.gate import request_ids
from api.web import metrics


def noted(app: ASGIApp) -> ASGIApp:
    """Return ``app`` with its answers noted: those of routes, of the gate, and of Litestar itself.

    A ``before_send`` hook of Litestar's would be two coroutines more for each message.
    """

    def note(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        started = time.perf_counter()

        def noting(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                request_ids.stamp(message, scope)
                metrics.count(message["status"], scope, seconds=time.perf_counter() - started)
            return send(message)

        return app(scope, receive, noting)

    return note
