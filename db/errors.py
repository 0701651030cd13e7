"""The base class of errors that are reported outside, with the kinds of problems, and general subclasses.

HTTP finds the status and text of a kind in ``api/web/problems.py``. The shell prints the error's message and
ends with its exit code.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import msgspec

ProblemKind = Literal[
    "malformed",
    "validation",
    "tenant-required",
    "tenant-ambiguous",
    "unauthenticated",
    "invalid-credentials",
    "forbidden",
    "tenant-forbidden",
    "tenant-suspended",
    "claim-refused",
    "signup-closed",
    "not-found",
    "method-not-allowed",
    "slug-taken",
    "host-taken",
    "email-taken",
    "last-administrator",
    "key-limit",
    "state-conflict",
    "count-mismatch",
    "conflict",
    "body-too-large",
    "unsupported-media-type",
    "idempotency-mismatch",
    "too-many-requests",
    "internal",
    "tenant-not-ready",
    "tenant-out-of-range",
    "unavailable",
    "deadline",
    "overloaded",
]


class InvalidField(msgspec.Struct, frozen=True):
    """The name of an invalid value, and what is wrong with it."""

    field: str
    message: str


class TenantryError(Exception):
    """The base class of errors that are reported to a client, a flow or an operator.

    Attributes:
        kind: the kind of the problem.
        exit_code: the exit code of a shell command: 1, or 2 if the command itself was wrong.
        fields: the invalid values, if the kind is ``validation``.
        retry_after: seconds after which a retry may succeed; the kind's default if None.
        constraint: the name of the constraint in PostgreSQL that the request would break, if it would.
    """

    kind: ProblemKind = "internal"
    exit_code: ClassVar[int] = 1
    fields: Sequence[InvalidField] = ()
    retry_after: int | None = None
    constraint: str | None = None


class ProblemError(TenantryError):
    """An error that needs no more than its kind.

    Args:
        kind: the kind of the problem.
        retry_after: seconds after which a retry may succeed; the kind's default if None.
        constraint: the name of the constraint that the request would break, if it would.
    """

    def __init__(
        self, kind: ProblemKind, *, retry_after: int | None = None, constraint: str | None = None
    ) -> None:
        super().__init__(kind)
        self.kind = kind
        self.retry_after = retry_after
        self.constraint = constraint


class InvalidValueError(TenantryError, ValueError):
    """A value cannot be used.

    Args:
        field: the name of the value.
        message: what is wrong with it.
        constraint: the name of the constraint that the value would break, if it would.
    """

    kind = "validation"
    exit_code = 2

    def __init__(self, field: str, message: str, *, constraint: str | None = None) -> None:
        super().__init__(message)
        self.fields = (InvalidField(field, message),)
        self.constraint = constraint


class WrongStateError(TenantryError):
    """The state of a tenant or message does not allow the act."""

    kind = "state-conflict"


class TakenError(TenantryError):
    """A slug, host or e-mail belongs to somebody already.

    Args:
        what: what is taken: ``slug``, ``host`` or ``email``.
    """

    def __init__(self, what: Literal["slug", "host", "email"]) -> None:
        super().__init__(f"this {what} is taken")
        self.what = what
        self.kind = _TAKEN[what]


_TAKEN: dict[str, ProblemKind] = {"slug": "slug-taken", "host": "host-taken", "email": "email-taken"}
