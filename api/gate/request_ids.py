"""Request ids: put into the ``X-Request-ID`` header of each response and into a request's log lines."""

import re
from typing import Any, Final

import structlog
import uuid_utils
from litestar.types import HTTPResponseStartEvent, Scope

HEADER: Final = b"x-request-id"
_ACCEPTED: Final = re.compile(rb"\A[A-Za-z0-9._-]{8,128}\Z")
_KEY: Final = "tenantry_request_id"


def request_id(scope: Scope) -> str:
    """Return the request's id: the one the client sent if it is usable, otherwise a fresh UUIDv7."""
    state: dict[str, Any] = scope["state"]
    found: str | None = state.get(_KEY)
    if found is None:
        sent = next((value for name, value in scope["headers"] if name == HEADER), b"")
        found = sent.decode() if _ACCEPTED.match(sent) else str(uuid_utils.uuid7())
        state[_KEY] = found
        structlog.contextvars.bind_contextvars(request_id=found)
    return found


def stamp(message: HTTPResponseStartEvent, scope: Scope) -> None:
    """Add the request id to a response's headers."""
    message["headers"] = [*message.get("headers", ()), (HEADER, request_id(scope).encode())]
