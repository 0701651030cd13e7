"""Problems: every error answer, as RFC 9457 ``application/problem+json``, one stable ``type`` a kind."""

from typing import Any, Final

import asyncpg
import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    ValidationException,
)

from api.requests import request_id
from db.idempotency import Mismatch
from db.lifecycle import UnknownTenant, WrongState
from db.names import NameRefused
from db.registry import IllegalTransition
from db.remedies import NoMessage, Refused
from db.replays import CountMismatch
from db.signup import Taken
from db.tenancy import Poisoned, Unavailable

log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"


class Kind(msgspec.Struct, frozen=True):
    """A kind of problem: all answers of it have this status, title and detail."""

    name: str
    status: int
    title: str
    detail: str
    retry_after: int | None = None

    @property
    def type(self) -> str:
        """The type's URI reference, which answers with this description."""
        return f"/problems/{self.name}"


_KINDS = (
    Kind("malformed", 400, "Malformed request", "The request is not one that this API understands."),
    Kind("validation", 400, "Invalid request", "A value is missing, unknown or not what it must be."),
    Kind("tenant-required", 400, "No tenant named", "Name one in the tenant header or by its host."),
    Kind("tenant-ambiguous", 400, "More than one tenant named", "Send the tenant header once."),
    Kind("unauthenticated", 401, "No valid token", "Send a valid token as Authorization: Bearer."),
    Kind("invalid-credentials", 401, "Not logged in", "This e-mail and password do not open anything."),
    Kind("forbidden", 403, "Not permitted", "The token does not permit this."),
    Kind("tenant-forbidden", 403, "Not your tenant", "The token does not open this tenant."),
    Kind("tenant-suspended", 403, "Tenant suspended", "An operator has suspended this tenant."),
    Kind("claim-refused", 403, "Nothing to claim", "There is no key to be claimed with this."),
    Kind("signup-closed", 403, "Sign-up closed", "Sign-up is not open here."),
    Kind("not-found", 404, "Not found", "There is nothing here."),
    Kind("method-not-allowed", 405, "Method not allowed", "This address does not take this method."),
    Kind("slug-taken", 409, "Slug taken", "Another tenant has this slug."),
    Kind("host-taken", 409, "Host taken", "Another tenant has this host."),
    Kind("email-taken", 409, "E-mail taken", "This e-mail cannot be used; it belongs to somebody already."),
    Kind("last-administrator", 409, "Last administrator", "A tenant keeps one active ADMIN_MASTER."),
    Kind("key-limit", 409, "Too many keys", "Revoke a key before you make another."),
    Kind("state-conflict", 409, "Not in this state", "Its state does not allow this."),
    Kind("count-mismatch", 409, "Another count", "More or fewer messages are meant than expected."),
    Kind("conflict", 409, "Conflict", "This would break something else that is stored."),
    Kind("body-too-large", 413, "Body too large", "The body is larger than this API takes."),
    Kind("unsupported-media-type", 415, "Unsupported media type", "Send application/json."),
    Kind(
        "idempotency-mismatch",
        422,
        "Idempotency-Key used before",
        "It came with another body the first time.",
    ),
    Kind("too-many-requests", 429, "Too many requests", "Wait as long as Retry-After says.", 1),
    Kind("internal", 500, "Internal error", "Something went wrong here; it has been logged."),
    Kind("tenant-not-ready", 503, "Tenant not ready", "The tenant is not provisioned yet.", 2),
    Kind("tenant-out-of-range", 503, "Tenant not served", "This release does not serve its revision.", 30),
    Kind("unavailable", 503, "Unavailable", "The database cannot be reached at the moment.", 2),
    Kind("deadline", 503, "Took too long", "The request was not done in time, and was undone.", 2),
    Kind("overloaded", 503, "Overloaded", "The database took too long to answer.", 2),
)
KINDS: Final[dict[str, Kind]] = {kind.name: kind for kind in _KINDS}

_BY_STATUS: Final = {
    400: "malformed",
    401: "unauthenticated",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
    415: "unsupported-media-type",
}


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one value."""

    field: str
    message: str


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error answer (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[FieldError] = []


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """Raised to answer with a problem.

    Args:
        kind: a name in `KINDS`.
        errors: for ``validation``: what is wrong with which value.
        retry_after: seconds after which it is worth trying again, where the kind's own are not right.
    """

    def __init__(
        self, kind: str, errors: list[FieldError] | None = None, *, retry_after: int | None = None
    ) -> None:
        super().__init__(kind)
        self.kind = KINDS[kind]
        self.errors = errors or []
        self.retry_after = retry_after or self.kind.retry_after


def invalid(field: str, message: str) -> Problem:
    """Return the problem of one wrong value."""
    return Problem("validation", [FieldError(field, message)])


def answer(
    request: Request[Any, Any, Any], kind: Kind, errors: list[FieldError] | None = None
) -> Response[ProblemDetails]:
    """Return a problem's response."""
    headers = {}
    if kind.retry_after is not None:
        headers["Retry-After"] = str(kind.retry_after)
    if kind.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    details = ProblemDetails(
        type=kind.type,
        title=kind.title,
        status=kind.status,
        detail=kind.detail,
        instance=request.scope["path"],
        request_id=request_id(request.scope),
        errors=errors or [],
    )
    return Response(details, status_code=kind.status, media_type=MEDIA_TYPE, headers=headers)


_BY_EXCEPTION: Final[tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...]] = (
    ((IllegalTransition, WrongState, Refused), "state-conflict"),
    ((UnknownTenant, NoMessage), "not-found"),
    (CountMismatch, "count-mismatch"),
    (Mismatch, "idempotency-mismatch"),
    ((Unavailable, Poisoned, asyncpg.InvalidCachedStatementError), "unavailable"),
    (asyncpg.DataError, "validation"),  # what no field type caught, PostgreSQL did
    (
        (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError),
        "overloaded",
    ),
)


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[ProblemDetails]:
    """Answer any exception: the application's exception handler."""
    if isinstance(error, Problem):
        response = answer(request, error.kind, error.errors)
        if error.retry_after is not None:
            response.headers["Retry-After"] = str(error.retry_after)
        return response
    if isinstance(error, Taken):
        return answer(request, KINDS[f"{error.what}-taken"])
    if isinstance(error, NameRefused):
        return answer(request, KINDS["validation"], [FieldError("name", str(error))])
    if isinstance(error, HTTPException) and error.status_code < 500:
        return _http(request, error)
    for exceptions, name in _BY_EXCEPTION:
        if isinstance(error, exceptions):
            return answer(request, KINDS[name])
    log.error("unhandled exception", exc_info=error, path=request.scope["path"])
    return answer(request, KINDS["internal"])


def _http(request: Request[Any, Any, Any], error: HTTPException) -> Response[ProblemDetails]:
    """Answer what Litestar itself refused."""
    if isinstance(error, ValidationException):
        return answer(request, KINDS["validation"], _field_errors(error))
    response = answer(request, KINDS[_BY_STATUS.get(error.status_code, "malformed")])
    if isinstance(error, MethodNotAllowedException):
        response.headers.update(error.headers or {})
    return response


def _field_errors(error: ValidationException) -> list[FieldError]:
    found = [
        FieldError(str(extra.get("key") or "body"), str(extra.get("message", "invalid")))
        for extra in (error.extra if isinstance(error.extra, list) else [])
        if isinstance(extra, dict)
    ]
    return found or [FieldError("body", "this is not what is expected here")]
