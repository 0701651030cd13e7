"""Comparing the models with a schema at head, for ``alembic revision --autogenerate`` and ``alembic check``.

Alembic compares defaults by ``=`` in PostgreSQL. That fails for JSON, and differs each time for what is random.
Here PostgreSQL prints both, as it prints the default of a column.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from alembic.runtime.migration import MigrationContext
from sqlalchemy import (
    Column,
    Connection,
    DefaultClause,
    MetaData,
    Table,
    Text,
    cast,
    insert,
    literal_column,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable

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


def compare_defaults(context: MigrationContext) -> None:
    """Have Alembic compare defaults as PostgreSQL prints them.

    Args:
        context: Alembic's context of a comparison. A ``compare_server_default`` of the environment would fail
            at identity columns.
    """

    def differs(_: Column[Any], declared: Column[Any], wanted: str | None, found: str | None) -> bool:
        if wanted is None or found is None or not isinstance(declared.server_default, DefaultClause):
            return wanted != found
        assert context.connection is not None  # an online run
        return not _same(context.connection, declared, declared.server_default, found)

    context.impl.compare_server_default = differs  # type: ignore[method-assign]


def _same(connection: Connection, declared: Column[Any], wanted: DefaultClause, found: str) -> bool:
    """Return whether PostgreSQL prints both defaults alike, or they give the same value, as ``0`` and ``'0'`` do."""
    probe = Table(
        "tenantry_default",
        MetaData(),
        Column("wanted", declared.type, server_default=wanted.arg),  # type: ignore[arg-type]
        Column("found", declared.type, server_default=literal_column(found)),
        schema=declared.table.schema,
    )
    savepoint = connection.begin_nested()
    try:
        connection.execute(CreateTable(probe))
        printed = set(connection.scalars(_PRINTED, {"probe": probe.fullname}))
        compared = cast(probe.c.wanted, Text).is_not_distinct_from(cast(probe.c.found, Text))
        return len(printed) == 1 or bool(connection.scalar(insert(probe).returning(compared)))
    except DBAPIError:
        return False  # there can be no column with the default yet
    finally:
        savepoint.rollback()


def partitions(connection: Connection, schema: str) -> Collection[str]:
    """Return the names of a schema's partitions. Models do not declare them, so they are not compared."""
    return set(connection.scalars(_PARTITIONS, {"schema": schema}))


def included(schema: str, left_out: Collection[str]) -> Callable[[str | None, str, Mapping[str, Any]], bool]:
    """Return which of a database's objects are compared: those of one schema, without some of its tables."""

    def include(name: str | None, kind: str, _: Mapping[str, Any]) -> bool:
        if kind == "schema":
            return name == (schema if schema == "shared" else None)  # the tenant's is the default one
        return kind != "table" or name not in left_out

    return include
