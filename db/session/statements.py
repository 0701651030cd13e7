"""Statements: written with SQLAlchemy Core on the models, compiled once, run by asyncpg.

A statement is compiled for a schema that cannot exist and gets the tenant's put in its place, so that
each (tenant, statement) pair is one text, and one prepared statement a connection.
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
        clause: its bound parameters are ``bindparam``s without a value; names are what `arguments` takes.
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
        """Return the SQL for a tenant's schema."""
        return _placed(self._template, schema)

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """Return ``values`` in the order of the statement's parameters.

        Raises:
            KeyError: one is missing.
        """
        return [values[name] for name in self._names]


@lru_cache(maxsize=65536)
def _placed(template: str, schema: SchemaName) -> str:
    return template.replace(_PLACEHOLDER, schema)
