"""Statements on tenants' tables: written in SQLAlchemy Core, compiled once, run by asyncpg.

A statement is compiled with a placeholder schema, which is replaced with the tenant's schema. So each
(tenant, statement) pair has one text, and one prepared statement on each connection.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.sql.expression import ClauseElement

from db.names import SchemaName

_PLACEHOLDER: Final = "t_0000000000000000"  # base32 has no 0
_DIALECT: Final = PGDialect_asyncpg()  # type: ignore[no-untyped-call]


class Statement:
    """A statement on the tenants' models.

    Args:
        clause: the statement. Its parameters are ``bindparam``s without values; `arguments` takes their
            values by name.

    Raises:
        ValueError: a parameter has a value.
    """

    __slots__ = ("_names", "_template")

    def __init__(self, clause: ClauseElement) -> None:
        compiled = clause.compile(
            dialect=_DIALECT,
            compile_kwargs={"render_postcompile": True},
            schema_translate_map={None: _PLACEHOLDER},
            render_schema_translate=True,
        )
        self._template = str(compiled)
        self._names: tuple[str, ...] = tuple(compiled.positiontup or ())  # type: ignore[attr-defined]
        fixed = {name: value for name, value in compiled.params.items() if value is not None}
        if fixed:
            raise ValueError(f"values would be frozen into the statement: {sorted(fixed)}")

    def text(self, schema: SchemaName) -> str:
        """Return the statement's SQL for a tenant's schema."""
        return _placed(self._template, schema)

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """Return ``values`` in the order of the statement's parameters.

        Raises:
            KeyError: a value is missing.
        """
        return [values[name] for name in self._names]


@lru_cache(maxsize=65536)
def _placed(template: str, schema: SchemaName) -> str:
    return template.replace(_PLACEHOLDER, schema)
