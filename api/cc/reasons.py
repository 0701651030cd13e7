"""Parameters and bodies that carry an operator's reason, which is kept in the audit log."""

from typing import Annotated, Any, Final

import msgspec
from litestar.params import QueryParameter

from api.gate.rules import operator
from api.web.fields import Reason
from db import names

ReasonParameter = Annotated[
    str | None,
    QueryParameter(
        min_length=1, max_length=500, pattern=names.LINE, description="Why; it is kept in the audit log."
    ),
]

ACT: Final[dict[str, Any]] = operator() | {"problems": ("state-conflict",)}
"""Options of an operator's route that answers ``state-conflict`` if the resource's state forbids the act."""


class ActIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The reason for an act; it is kept in the audit log. The body may be left out."""

    reason: Reason | None = None


class ReasonIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The reason for an act; it is kept in the audit log."""

    reason: Reason
