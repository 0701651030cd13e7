"""Reasons: why an operator does something, as routes take it; it is kept in the audit log."""

from typing import Annotated, Any, Final

import msgspec
from litestar.params import QueryParameter

from api.gate.rules import operator
from api.web.fields import Reason

ReasonParameter = Annotated[Reason | None, QueryParameter(description="Why; it is kept in the audit log.")]

ACT: Final[dict[str, Any]] = operator() | {"problems": ("state-conflict",)}
"""The options of a route that the state of what it is about may not allow."""


class ActIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why; it is kept in the audit log. The body may be left out."""

    reason: Reason | None = None


class ReasonIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why; it is kept in the audit log."""

    reason: Reason
