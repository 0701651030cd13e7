"""Problems: the kinds of error answers (RFC 9457), and the handler that turns exceptions into them.

Each kind has one stable ``type``.
"""

from collections.abc import Sequence
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

from api.gate.caller import Caller
from api.gate.directory import Directory
from api.gate.request_ids import request_id
from api.web import refusals
from db.errors import InvalidField, ProblemKind, TenantryError
from db.session.failures import NOT_AS_EXPECTED
from db.tenants.registry import Tenant

log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"


class ProblemType(msgspec.Struct, frozen=True):
    """A kind of problem. All answers of this kind have the same status, title and detail."""

    name: ProblemKind
    status: int
    title: str
    detail: str
    retry_after: int | None = None

    @property
    def type(self) -> str:
        """The URI reference of the type. A GET of it returns this description."""
        return f"/problems/{self.name}"


_KINDS = (
    ProblemType("malformed", 400, "Malformed request", "The request is not one that this API understands."),
    ProblemType("validation", 400, "Invalid request", "A value is missing, unknown or not what it must be."),
    ProblemType("tenant-required", 400, "No tenant named", "Name one in the tenant header or by its host."),
    ProblemType("tenant-ambiguous", 400, "More than one tenant named", "Send the tenant header once."),
    ProblemType("unauthenticated", 401, "No valid token", "Send a valid token as Authorization: Bearer."),
    ProblemType(
        "invalid-credentials", 401, "Not logged in", "This e-mail and password do not open anything."
    ),
    ProblemType("forbidden", 403, "Not permitted", "The token does not permit this."),
    ProblemType("tenant-forbidden", 403, "Not your tenant", "The token does not open this tenant."),
    ProblemType("tenant-suspended", 403, "Tenant suspended", "An operator has suspended this tenant."),
    ProblemType("claim-refused", 403, "Nothing to claim", "There is no key to be claimed with this."),
    ProblemType("signup-closed", 403, "Sign-up closed", "Sign-up is not open here."),
    ProblemType("not-found", 404, "Not found", "There is nothing here."),
    ProblemType("method-not-allowed", 405, "Method not allowed", "This address does not take this method."),
    ProblemType("slug-taken", 409, "Slug taken", "Another tenant has this slug."),
    ProblemType("host-taken", 409, "Host taken", "Another tenant has this host."),
    ProblemType(
        "email-taken", 409, "E-mail taken", "This e-mail cannot be used; it belongs to somebody already."
    ),
    ProblemType(
        "last-administrator",
        409,
        "Last administrator",
        "A tenant keeps one active ADMIN_MASTER who can log in.",
    ),
    ProblemType("key-limit", 409, "Too many keys", "Revoke a key before you make another."),
    ProblemType("state-conflict", 409, "Not in this state", "Its state does not allow this."),
    ProblemType("count-mismatch", 409, "Another count", "More or fewer messages are meant than expected."),
    ProblemType("conflict", 409, "Conflict", "This would break something else that is stored."),
    ProblemType("body-too-large", 413, "Body too large", "The body is larger than this API takes."),
    ProblemType("unsupported-media-type", 415, "Unsupported media type", "Send application/json."),
    ProblemType(
        "idempotency-mismatch",
        422,
        "Idempotency-Key used before",
        "It came with another body the first time.",
    ),
    ProblemType("too-many-requests", 429, "Too many requests", "Wait as long as Retry-After says.", 1),
    ProblemType("internal", 500, "Internal error", "Something went wrong here; it has been logged."),
    ProblemType(
        "tenant-not-ready", 503, "Tenant not ready", "The tenant is being provisioned or migrated.", 2
    ),
    ProblemType(
        "tenant-out-of-range", 503, "Tenant not served", "This release does not serve its revision.", 30
    ),
    ProblemType("unavailable", 503, "Unavailable", "The database cannot be reached at the moment.", 2),
    ProblemType("deadline", 503, "Took too long", "The request was not done in time, and was undone.", 2),
    ProblemType("overloaded", 503, "Overloaded", "The database took too long to answer.", 2),
)
KINDS: Final[dict[str, ProblemType]] = {kind.name: kind for kind in _KINDS}

_BY_STATUS: Final = {
    400: "malformed",
    401: "unauthenticated",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
    415: "unsupported-media-type",
}


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error answer (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: Sequence[InvalidField] = ()
    constraint: str | None = None


def answer(
    request: Request[Any, Any, Any],
    kind: ProblemType,
    errors: Sequence[InvalidField] = (),
    *,
    constraint: str | None = None,
) -> Response[ProblemDetails]:
    """Return the response for a problem.

    Args:
        request: the request to answer.
        kind: the kind of the problem.
        errors: the invalid values.
        constraint: the name of the constraint that the request would break, if it would.
    """
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
        errors=errors,
        constraint=constraint,
    )
    return Response(details, status_code=kind.status, media_type=MEDIA_TYPE, headers=headers)


# The driver's errors that nothing handled before.
_BY_DRIVER: Final[tuple[tuple[tuple[type[Exception], ...], ProblemKind], ...]] = (
    (
        (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError),
        "overloaded",
    ),
)


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[ProblemDetails]:
    """Return the answer to an exception. This is the application's exception handler."""
    caller = request.scope.get("auth")
    if isinstance(error, NOT_AS_EXPECTED) and isinstance(caller, Caller) and caller.tenant is not None:
        return _not_ready(request, caller.tenant, error)
    if isinstance(error, asyncpg.PostgresError):
        error = refusals.get_problem(error) or error
    if isinstance(error, TenantryError) and error.kind != "internal":
        response = answer(request, KINDS[error.kind], error.fields, constraint=error.constraint)
        if error.retry_after is not None:
            response.headers["Retry-After"] = str(error.retry_after)
        return response
    if isinstance(error, HTTPException) and error.status_code < 500:
        return _http(request, error)
    for exceptions, kind in _BY_DRIVER:
        if isinstance(error, exceptions):
            return answer(request, KINDS[kind])
    log.error("unhandled exception", exc_info=error, path=request.scope["path"])
    return answer(request, KINDS["internal"])


def _not_ready(request: Request[Any, Any, Any], tenant: Tenant, error: Exception) -> Response[ProblemDetails]:
    """Return the answer to a request that found its tenant's schema, or a right in it, not as expected.

    A migration since the tenant was looked up and a wrong statement look alike; so it is logged as an error,
    with the revision at which the schema was thought to be.
    """
    directory: Directory = request.app.state.directory
    directory.forget_tenant(tenant.id)
    log.error(
        "schema not as expected",
        exc_info=error,
        error=type(error).__name__,
        tenant=tenant.slug,
        revision=tenant.revision,
        path=request.scope["path"],
    )
    return answer(request, KINDS["tenant-not-ready"])


def _http(request: Request[Any, Any, Any], error: HTTPException) -> Response[ProblemDetails]:
    """Return the answer to a request that Litestar itself refused."""
    if isinstance(error, ValidationException):
        return answer(request, KINDS["validation"], _field_errors(error))
    response = answer(request, KINDS[_BY_STATUS.get(error.status_code, "malformed")])
    if isinstance(error, MethodNotAllowedException):
        response.headers.update(error.headers or {})
    return response


def _field_errors(error: ValidationException) -> list[InvalidField]:
    found = [
        InvalidField(str(extra.get("key") or "body"), str(extra.get("message", "invalid")))
        for extra in (error.extra if isinstance(error.extra, list) else [])
        if isinstance(extra, dict)
    ]
    return found or [InvalidField("body", "this is not what is expected here")]
