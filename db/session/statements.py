"""Statements on tenants' tables: written in SQLAlchemy Core, compiled once, run by asyncpg.

A statement is compiled with a placeholder schema, which is replaced with the tenant's schema. So each
(tenant, statement) pair has one text, and one prepared statement on each connection.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import asyncpg
import structlog
from sqlalchemy.sql.expression import ClauseElement

from db.errors import InvalidValueError
from db.names import SchemaName
from db.session.codecs import DIALECT, Codec, get_encoder

log = structlog.get_logger(__name__)

_PLACEHOLDER: Final = "t_0000000000000000"  # base32 has no 0
_ARGUMENT: Final = re.compile(r"invalid input for query argument \$(\d+)")


class Statement:
    """A statement on the tenants' models.

    Args:
        clause: the statement. Its parameters are ``bindparam``s without values; `arguments` takes their
            values by name, and converts them by the parameters' SQL types.

    Raises:
        ValueError: a parameter has a value.
    """

    __slots__ = ("_encoders", "_names", "_template")

    def __init__(self, clause: ClauseElement) -> None:
        compiled = clause.compile(
            dialect=DIALECT,
            compile_kwargs={"render_postcompile": True},
            schema_translate_map={None: _PLACEHOLDER},
            render_schema_translate=True,
        )
        self._template = str(compiled)
        self._names: tuple[str, ...] = tuple(compiled.positiontup or ())  # type: ignore[attr-defined]
        kinds = {name: bind.type for name, bind in compiled.binds.items()}  # type: ignore[attr-defined]
        encoders = {name: get_encoder(kinds[name]) for name in self._names}
        self._encoders: dict[str, Codec] = {name: each for name, each in encoders.items() if each}
        fixed = {name: value for name, value in compiled.params.items() if value is not None}
        if fixed:
            raise ValueError(f"values would be frozen into the statement: {sorted(fixed)}")

    def text(self, schema: SchemaName) -> str:
        """Return the statement's SQL for a tenant's schema."""
        return _placed(self._template, schema)

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """Return ``values`` in the order of the statement's parameters, as asyncpg takes them.

        Raises:
            KeyError: a value is missing.
            InvalidValueError: the parameter's type does not hold a value.
        """
        if not self._encoders:
            return [values[name] for name in self._names]
        return [self._encoded(name, values[name]) for name in self._names]

    def refused(self, error: asyncpg.DataError) -> InvalidValueError | None:
        """Return the error for an argument that asyncpg refused to send; None if PostgreSQL refused it.

        The argument is logged by its name alone, as asyncpg's own message shows the value.
        """
        found = _ARGUMENT.match(str(error))
        if found is None or error.severity is not None:  # PostgreSQL's errors have a severity
            return None
        name = self._names[int(found[1]) - 1]
        log.warning("argument refused", parameter=name, error=type(error).__name__)
        return InvalidValueError(name, "not a value of the column's type")

    def _encoded(self, name: str, value: Any) -> Any:
        encode = self._encoders.get(name)
        if encode is None or value is None:
            return value
        try:
            return encode(value)
        except (ValueError, TypeError) as error:
            raise InvalidValueError(name, str(error)) from None


@lru_cache(maxsize=65536)
def _placed(template: str, schema: SchemaName) -> str:
    return template.replace(_PLACEHOLDER, schema)
