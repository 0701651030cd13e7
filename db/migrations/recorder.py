"""The recorder: takes down what a revision does, as the statements that an online run would send.

Whatever an online run would do otherwise is refused: parameters given apart from their statement, results that
are used, looks at what is there.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import msgspec
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Dialect, FunctionElement, TextClause
from sqlalchemy.schema import DDLElement, ExecutableDDLElement
from sqlalchemy.sql import ClauseElement, visitors
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.types import NullType

from db.errors import TenantryError
from db.migrations import rules
from db.migrations.lexer import statements, substitute, terminated
from db.migrations.lineage import LineageName
from db.migrations.literals import LiteralError, literal
from db.migrations.rules import ONLINE

_APART: Final = (
    "parameters given apart from their statement: write them into it, with bindparams() or values(), "
    f"or {ONLINE}"
)


class RecordError(TenantryError):
    """A revision does what a script cannot do. The message says what, and what to write instead."""


class Statement(msgspec.Struct, frozen=True):
    """A statement of a script, with its final semicolon, and the revision that runs it."""

    revision: str
    sql: str


class Recorder:
    """Takes the place of Alembic's way to the database in a migration context.

    Args:
        context: a context in SQL mode, before it has run anything.
        lineage: the lineage of the revisions, whose rules the statements keep.
    """

    def __init__(self, context: MigrationContext, lineage: LineageName) -> None:
        self.statements: list[Statement] = []
        self.revision = ""
        self._lineage = lineage
        self._dialect: Dialect = context.dialect
        impl: Any = context.impl
        impl._exec = self._execute  # noqa: SLF001 - the one place that all of op.* passes through
        impl.bulk_insert = self._bulk_insert
        impl.connection = context.connection = _Connection(self)  # type: ignore[assignment]
        impl.static_output = lambda _: None  # comments, and statements that have come through `_exec`
        context.autocommit_block = _no_block  # type: ignore[method-assign]

    def add(self, sql: str) -> None:
        """Take down a statement.

        Raises:
            RuleError: a revision must not run the statement.
        """
        rules.check(sql, self._lineage)
        if statements(sql):
            self.statements.append(Statement(self.revision, terminated(sql)))

    def _execute(
        self,
        construct: ClauseElement | str,
        execution_options: Mapping[str, Any] | None = None,
        multiparams: Sequence[Mapping[str, Any]] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        """Stand in for `DefaultImpl._exec`."""
        if execution_options:
            raise RecordError(f"execution options {sorted(execution_options)}: {ONLINE}")
        if multiparams or params:
            raise RecordError(_APART)
        self.add(self._sql(TextClause(construct) if isinstance(construct, str) else construct))

    def _sql(self, construct: ClauseElement) -> str:
        """Return what the online run would send, with values in place of its parameters."""
        if isinstance(construct, DDLElement | ExecutableDDLElement):
            return str(construct.compile(dialect=self._dialect)).strip()
        if isinstance(construct, FunctionElement):
            construct = construct.select()
        for element in visitors.iterate(construct):
            if isinstance(element, BindParameter) and element.required:
                raise RecordError(
                    f":{element.key} is a parameter without a value, and would be rendered as NULL; "
                    f"write \\:{element.key} for a colon, or bindparams(), or {ONLINE}"
                )
        compiled: Any = construct.compile(
            dialect=self._dialect, column_keys=[], compile_kwargs={"render_postcompile": True}
        )
        if not isinstance(compiled, SQLCompiler):
            return str(compiled).strip()
        defaults = {column.key: _constant(column, column.default) for column in compiled.insert_prefetch}
        defaults |= {column.key: _constant(column, column.onupdate) for column in compiled.update_prefetch}
        return substitute(str(compiled).strip(), _values(compiled, defaults))

    def _bulk_insert(self, table: Any, rows: list[dict[str, Any]], multiinsert: bool = True) -> None:
        """Stand in for `DefaultImpl.bulk_insert`."""
        if not all(isinstance(row, dict) for row in rows):
            raise RecordError("bulk_insert wants a list of dictionaries")
        for row in rows:
            if multiinsert and row.keys() != rows[0].keys():
                raise RecordError(
                    f"bulk_insert: a row has {sorted(row)}, the first one {sorted(rows[0])}; "
                    "give all rows the same keys, or multiinsert=False"
                )
            if multiinsert and any(isinstance(value, ClauseElement) for value in row.values()):
                raise RecordError("bulk_insert of an SQL expression wants multiinsert=False")
            self._execute(table.insert().inline().values(**row))


class _Result:
    """What the recorder's connection returns: nothing that a revision could go by."""

    def __getattr__(self, name: str) -> NoReturn:
        raise RecordError(f"the result of a statement is used (.{name}): {ONLINE}")

    def _refuse(self, *_: Any) -> NoReturn:
        raise RecordError(f"the result of a statement is used: {ONLINE}")

    __iter__ = __next__ = __getitem__ = __len__ = __bool__ = __enter__ = __exit__ = __contains__ = _refuse
    __eq__ = __ne__ = __lt__ = __hash__ = _refuse


class _Connection:
    """What `op.get_bind` returns."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.dialect = recorder._dialect  # noqa: SLF001 - two halves of one thing

    def execute(self, statement: Any, parameters: Any = None, *, execution_options: Any = None) -> _Result:
        if isinstance(statement, str):
            raise RecordError("a connection executes sa.text(...), not a string")
        self._recorder._execute(statement, execution_options, params=parameters)  # noqa: SLF001
        return _Result()

    def exec_driver_sql(
        self, statement: str, parameters: Any = None, execution_options: Any = None
    ) -> _Result:
        if parameters or execution_options:
            raise RecordError(_APART)
        self._recorder.add(statement.strip())
        return _Result()

    def _run_ddl_visitor(self, visitor: Any, element: Any, **kwargs: Any) -> None:
        """Stand in for what ``Table.create`` and ``Enum.create`` call."""
        if kwargs.get("checkfirst"):
            raise RecordError(f"checkfirst looks for what is there: pass checkfirst=False, or {ONLINE}")
        visitor(self.dialect, self, **kwargs).traverse_single(element)

    def in_transaction(self) -> bool:
        return True

    def schema_for_object(self, element: Any) -> Any:
        return element.schema

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):  # SQLAlchemy asks what the connection is
            raise RecordError(f"what inspects a connection needs a database: {ONLINE}")
        raise RecordError(f"a connection's {name} needs a database: {ONLINE}")


def _no_block() -> NoReturn:
    raise RecordError(f"autocommit_block() commits what comes before it: {ONLINE}")


def _values(compiled: Any, defaults: Mapping[str, Any]) -> list[str]:
    """Return the literals of a statement's parameters, in their order.

    Args:
        compiled: the statement.
        defaults: the values of columns for which the statement gives none.
    """
    values, processors = compiled.params | defaults, compiled._bind_processors  # noqa: SLF001 - as execution does
    # The keys of columns whose names are not plain; some of SQLAlchemy's mappings have them escaped.
    plain = {escaped: key for key, escaped in compiled.escaped_bind_names.items()}
    values = {plain.get(key, key): value for key, value in values.items()}
    found = []
    for key in compiled.positiontup or ():
        key = plain.get(key, key)  # noqa: PLW2901
        value = values[key]
        if key in processors:
            value = processors[key](value)
        bind = compiled.binds.get(key)
        type_ = bind.type.dialect_impl(compiled.dialect) if bind is not None else NullType()
        try:
            found.append(literal(value, type_))
        except LiteralError as error:
            raise RecordError(f"parameter {key}: {error}") from None
    return found


def _constant(column: "Column[Any]", default: Any) -> Any:
    """Return the value of a default that is not computed."""
    if default is None or not default.is_scalar:
        raise RecordError(
            f"column {column.table.name}.{column.name} has a default that Python computes: give its value, "
            f"or use server_default"
        )
    return default.arg


UNRECORDED: Final = (RecordError, rules.RuleError)
"""The errors by which a revision is refused."""
