"""Errors: one base for all that somebody outside is told of, which carries the problem's kind.

HTTP looks the kind up in ``api/web/problems.py``, where it has a status and words; the shell prints the
error's own words and ends with its exit code.
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
    """What is wrong with one value."""

    field: str
    message: str


class TenantryError(Exception):
    """The base of errors that a client, a flow or an operator is told of.

    Attributes:
        kind: the kind of problem that it is.
        exit_code: what a shell command ends with: 1, or 2 where the command itself was wrong.
        fields: which values are wrong, where the kind is ``validation``.
        retry_after: seconds after which another try may succeed; the kind's own by default.
    """

    kind: ProblemKind = "internal"
    exit_code: ClassVar[int] = 1
    fields: Sequence[InvalidField] = ()
    retry_after: int | None = None


class ProblemError(TenantryError):
    """An error that is told by its kind alone.

    Args:
        kind: the kind of problem.
        retry_after: seconds after which another try may succeed; the kind's own by default.
    """

    def __init__(self, kind: ProblemKind, *, retry_after: int | None = None) -> None:
        super().__init__(kind)
        self.kind = kind
        self.retry_after = retry_after


class InvalidValueError(TenantryError, ValueError):
    """A value cannot be used.

    Args:
        field: the name of the value.
        message: what is wrong with it.
    """

    kind = "validation"
    exit_code = 2

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.fields = (InvalidField(field, message),)


class WrongStateError(TenantryError):
    """A tenant or a message is in a state that does not allow this."""

    kind = "state-conflict"


class TakenError(TenantryError):
    """Somebody else has it already.

    Args:
        what: ``slug``, ``host`` or ``email``.
    """

    def __init__(self, what: Literal["slug", "host", "email"]) -> None:
        super().__init__(f"this {what} is taken")
        self.what = what
        self.kind = _TAKEN[what]


_TAKEN: dict[str, ProblemKind] = {"slug": "slug-taken", "host": "host-taken", "email": "email-taken"}
