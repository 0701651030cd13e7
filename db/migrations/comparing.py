"""Comparing the models with a schema at head, for ``alembic revision --autogenerate`` and ``alembic check``.

Alembic compares defaults by ``=`` in PostgreSQL. That fails for JSON, and differs each time for what is random.
Here PostgreSQL prints both, as it prints the default of a column.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Connection, DefaultClause, MetaData, Table, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable

_PROBE: Final = "tenantry_default"
_PRINTED: Final = text(
    """
    SELECT pg_get_expr(adbin, adrelid) FROM pg_catalog.pg_attrdef WHERE adrelid = CAST(:probe AS regclass)
    """
)
_PARTITIONS: Final = text(
    """
    SELECT relname FROM pg_catalog.pg_class
    WHERE relispartition AND relnamespace = to_regnamespace(quote_ident(:schema))
    """
)


def default_differs(
    context: MigrationContext,
    _: Column[Any],
    declared: Column[Any],
    found: str | None,
    wanted: Any,
    __: str | None,
) -> bool | None:
    """Return whether a column's default is another one than declared. None leaves it to Alembic.

    Args:
        context: Alembic's context, in a transaction.
        declared: the model's column.
        found: the schema's default, as PostgreSQL prints it.
        wanted: the model's default.
    """
    if found is None or not isinstance(wanted, DefaultClause):
        return None
    assert context.connection is not None  # an online run
    return found != _printed(context.connection, declared, wanted)


def _printed(connection: Connection, declared: Column[Any], wanted: DefaultClause) -> str | None:
    """Return a default as PostgreSQL prints it; None if there can be no column with it yet."""
    column: Column[Any] = Column("value", declared.type, server_default=wanted.arg)  # type: ignore[arg-type]
    probe = Table(_PROBE, MetaData(), column, schema=declared.table.schema)
    savepoint = connection.begin_nested()
    try:
        connection.execute(CreateTable(probe))
        return str(connection.scalar(_PRINTED, {"probe": probe.fullname}))
    except DBAPIError:
        return None
    finally:
        savepoint.rollback()


def partitions(connection: Connection, schema: str) -> Collection[str]:
    """Return the names of a schema's partitions. Models do not declare them, so they are not compared."""
    return set(connection.scalars(_PARTITIONS, {"schema": schema}))


def included(schema: str, left_out: Collection[str]) -> Callable[[str | None, str, Mapping[str, Any]], bool]:
    """Return which of a database's objects are compared: those of one schema, without some of its tables."""

    def include(name: str | None, kind: str, _: Mapping[str, Any]) -> bool:
        if kind == "schema":
            return name in {None, schema}
        return kind != "table" or name not in left_out

    return include
