"""Acts: what the routes by which an operator does something to a tenant have in common."""

from typing import Annotated, Any, Final

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.params import QueryParameter

from api.access import Caller, operator
from api.fields import Reason
from api.requests import request_id
from db.audit import By

OperatorRequest = Request[None, Caller, State]
ReasonParameter = Annotated[Reason | None, QueryParameter(description="Why; it is kept in the audit log.")]

ACT: Final[dict[str, Any]] = operator() | {"problems": ("state-conflict",)}
"""The rule of a route that the tenant's state may not allow."""


class ActIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why; it is kept in the audit log. The body may be left out."""

    reason: Reason | None = None


def by(request: OperatorRequest, reason: str | None = None) -> By:
    """Return who acts, and why."""
    return By(actor=request.auth.actor, request_id=request_id(request.scope), reason=reason)
