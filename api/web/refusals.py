"""Refusals: what PostgreSQL refuses to store, as problems for the client.

Whatever statement it was, the answer and the log name the constraint or the column and never a value:
PostgreSQL's own message and DETAIL may show rows.
"""

from typing import Final

import asyncpg
import structlog

from db.errors import InvalidValueError, ProblemError, TenantryError

log = structlog.get_logger(__name__)

_BODY: Final = "body"
"""The field to name where PostgreSQL does not say which column it was."""

_DATA: Final = {
    "22001": "a text is too long",
    "22003": "a number is out of range",
    "22007": "not a date or time",
    "22008": "a date or time is out of range",
    "22021": "a text holds a NUL, or is not UTF-8",
    "22P02": "not a value of the column's type",
    "22P05": "a text holds a character that cannot be stored",
}
"""Messages for SQLSTATEs of class 22, data exceptions."""


def get_problem(error: asyncpg.PostgresError) -> TenantryError | None:
    """Return the error to answer, or None if the client's values are not the cause. It is logged.

    What a trigger refuses by RAISE EXCEPTION is a conflict. Its message is not shown, as it may hold a value;
    it can name a constraint (``USING CONSTRAINT = 'a_name'``).

    Args:
        error: PostgreSQL's error, or asyncpg's about an argument.
    """
    found: TenantryError
    match error:
        case asyncpg.NotNullViolationError() if error.schema_name == "shared":
            found = ProblemError("unavailable")  # a newer release has migrated it: no value of the client's
        case asyncpg.NotNullViolationError():
            field = error.column_name or error.constraint_name or _BODY
            found = InvalidValueError(field, "must not be null", constraint=error.constraint_name)
        case asyncpg.CheckViolationError() | asyncpg.WithCheckOptionViolationError():
            field = error.constraint_name or _BODY
            found = InvalidValueError(field, "a check refuses this", constraint=error.constraint_name)
        case asyncpg.IntegrityConstraintViolationError() | asyncpg.RaiseError():
            found = ProblemError("conflict", constraint=error.constraint_name)
        case asyncpg.DataError():
            message = _DATA.get(error.sqlstate, "a value cannot be stored as it is")
            found = InvalidValueError(error.column_name or _BODY, message)
        case asyncpg.ProgramLimitExceededError():
            found = InvalidValueError(_BODY, "a value is too large, or nested too deeply")
        case _:
            return None
    log.warning(
        "refused by the database",
        error=type(error).__name__,
        sqlstate=error.sqlstate,
        table=error.table_name,
        column=error.column_name,
        constraint=error.constraint_name,
    )
    return found
