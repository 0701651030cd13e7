"""Rows: reads and writes the rows of one table of a tenant, with statements that all resources share.

The statements run in a tenant transaction of the caller, so that a route can combine several of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Generic, TypeVar, get_type_hints

import asyncpg
import msgspec
from msgspec import UNSET
from sqlalchemy import (
    BindParameter,
    DateTime,
    Integer,
    String,
    Text,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    tuple_,
    update,
)
from sqlalchemy.types import TypeEngine

from api.web import lists
from api.web.filters import Column, Filter
from api.web.lists import Page
from db.errors import InvalidValueError, ProblemError, ProblemKind
from db.models.base import Base
from db.names import composed
from db.session.codecs import get_decoder
from db.session.statements import Statement
from db.session.transaction import Reads, TenantTransaction

Out = TypeVar("Out", bound=msgspec.Struct)
_ID: Final = bindparam("id", type_=Integer)
_NO_NAMES: Final[Mapping[str, str]] = {}
_FOREVER: Final = literal_column("'infinity'::timestamptz", DateTime(timezone=True))


def _is_short(kind: TypeEngine[Any]) -> bool:
    return isinstance(kind, String) and not isinstance(kind, Text)


def changes(patch: msgspec.Struct) -> dict[str, Any]:
    """Return the names and values of the fields of a patch that the client sent."""
    sent = ((name, getattr(patch, name)) for name in patch.__struct_fields__)
    return {name: value for name, value in sent if value is not UNSET}


class Rows(Generic[Out]):
    """The rows of one table that every tenant has.

    Args:
        model: the table. It has an integer column ``id``; a column ``updated_at`` is kept up to date.
        out: the struct to return for a row; each field is a column.
        filters: the filters of the list, by name.
        order: columns that the list can be sorted by. A nullable column must be a timestamp; NULL sorts after
            every time.
        taken: the kind of problem to raise if a value must be unique and is not.

    Raises:
        TypeError: a nullable column in ``order`` is not a timestamp.
    """

    def __init__(
        self,
        model: type[Base],
        out: type[Out],
        *,
        filters: Mapping[str, Filter] | None = None,
        order: Sequence[str] = ("id",),
        taken: ProblemKind = "conflict",
    ) -> None:
        self._model = model
        self._out = out
        self._filters = filters or {}
        self._taken = taken
        table: Any = model.__table__
        self._table = table
        self._id: Column = model.id  # type: ignore[attr-defined]
        self._columns = [getattr(model, name) for name in out.__struct_fields__]
        self._kinds = get_type_hints(out, include_extras=True)
        self._decoders = [
            (index, decode)
            for index, column in enumerate(self._columns)
            if (decode := get_decoder(column.type, self._kinds[out.__struct_fields__[index]])) is not None
        ]
        self._sorted = {name: self._key(getattr(model, name)) for name in order}
        self._references = {
            str(key.name): (
                key.column_keys[0],
                key.elements[0].target_fullname.partition(".")[0],
            )
            for key in table.foreign_key_constraints
        }
        self._short = {column.key for column in table.c if _is_short(column.type)}
        self._get = Statement(select(*self._columns).where(self._id == _ID))
        self._delete = Statement(delete(model).where(self._id == _ID).returning(self._id))
        self._inserts: dict[tuple[str, ...], Statement] = {}
        self._updates: dict[tuple[str, ...], Statement] = {}
        self._lists: dict[tuple[frozenset[str], str, bool], Statement] = {}

    async def get(self, reads: Reads, row_id: int) -> Out | None:
        """Return a row, or None if no row has this id."""
        row = await reads.fetchrow(self._get, id=row_id)
        return None if row is None else self._shown(row)

    async def require(self, reads: Reads, row_id: int) -> Out:
        """Return a row.

        Raises:
            ProblemError: no row has this id.
        """
        found = await self.get(reads, row_id)
        if found is None:
            raise ProblemError("not-found")
        return found

    async def insert(self, transaction: TenantTransaction, values: Mapping[str, Any]) -> Out:
        """Add a row and return it. A value of UNSET leaves the column to its default.

        Raises:
            InvalidValueError: the row refers to a row that does not exist, or a column does not hold a value.
            ProblemError: a value that must be unique is taken.
        """
        values = self._kept({name: value for name, value in values.items() if value is not UNSET})
        names = tuple(values)
        if names not in self._inserts:
            clause = insert(self._model).values({name: self._bind(name, name) for name in names})
            self._inserts[names] = Statement(clause.returning(*self._columns))
        with self._refusals():
            row = await transaction.fetchrow(self._inserts[names], **values)
        assert row is not None
        return self._shown(row)

    async def update(self, transaction: TenantTransaction, row_id: int, values: Mapping[str, Any]) -> Out:
        """Change a row and return the changed row.

        Raises:
            InvalidValueError: the row would refer to a row that does not exist, or a column does not hold a
                value.
            ProblemError: no row has this id, or a value that must be unique is taken.
        """
        names = tuple(values)
        if not names and "updated_at" not in self._table.c:
            return await self.require(transaction, row_id)
        if names not in self._updates:
            self._updates[names] = self._update(names)
        given = {f"new_{name}": value for name, value in self._kept(values).items()}
        with self._refusals({f"new_{name}": name for name in names}):
            row = await transaction.fetchrow(self._updates[names], old_id=row_id, **given)
        if row is None:
            raise ProblemError("not-found")
        return self._shown(row)

    async def delete(self, transaction: TenantTransaction, row_id: int) -> None:
        """Delete a row.

        Raises:
            ProblemError: no row has this id, or other rows refer to the row.
        """
        with self._refusals():
            if await transaction.fetchval(self._delete, id=row_id) is None:
                raise ProblemError("not-found")

    async def list_(
        self,
        reads: Reads,
        *,
        limit: int,
        cursor: str | None = None,
        order: str = "id",
        **filters: Any,
    ) -> Page[Out]:
        """Return a page of rows.

        Args:
            reads: the caller's tenant transaction, or what reads without one.
            limit: rows to return at most.
            cursor: ``next_cursor`` of the page before; None for the first page.
            order: the column to sort by; a leading minus reverses the order.
            filters: values by filter name; a value of None does not narrow the list.

        Raises:
            InvalidValueError: the cursor is not one of this list in this order, or a filter's column does not hold
                its value.
        """
        values = {name: value for name, value in filters.items() if value is not None}
        column = order.removeprefix("-")
        if cursor is not None:
            values |= self._after(cursor, order)
        form = (frozenset(self._filters.keys() & values.keys()), order, cursor is not None)
        if form not in self._lists:
            self._lists[form] = self._list(*form)
        with self._refusals({"after_key": "cursor"}):
            found = await reads.fetch(self._lists[form], limit=limit + 1, **values)
        items = [self._shown(row) for row in found[:limit]]
        if len(found) <= limit:
            return Page(items, None)
        last: Any = items[-1]
        return Page(items, lists.encode(self._cursor_name(order), getattr(last, column), last.id))

    def _kept(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values as they are stored: short texts in NFC, so that what looks the same is the same."""
        return {
            name: composed(value) if name in self._short and isinstance(value, str) else value
            for name, value in values.items()
        }

    def _bind(self, name: str, column: str) -> BindParameter[Any]:
        return bindparam(name, type_=self._table.c[column].type)

    def _update(self, names: tuple[str, ...]) -> Statement:
        values: dict[str, Any] = {name: self._bind(f"new_{name}", name) for name in names}
        if "updated_at" in self._table.c:
            values["updated_at"] = func.now()
        clause = update(self._model).where(self._id == bindparam("old_id", type_=Integer)).values(values)
        return Statement(clause.returning(*self._columns))

    def _key(self, column: Column) -> Any:
        if not column.nullable:
            return column
        if not isinstance(column.type, DateTime):
            raise TypeError(f"{column} can be NULL, and has no value that is later than all")
        return func.coalesce(column, _FOREVER)

    def _list(self, filters: frozenset[str], order: str, continued: bool) -> Statement:
        name, backwards = order.removeprefix("-"), order.startswith("-")
        key, column = self._sorted[name], getattr(self._model, name)
        clause = select(*self._columns).where(*(self._filters[each].named(each) for each in sorted(filters)))
        if continued:
            value: Any = bindparam("after_key", type_=column.type)
            if column.nullable:
                value = func.coalesce(value, _FOREVER)
            here, there = tuple_(key, self._id), tuple_(value, bindparam("after_id", type_=Integer))
            clause = clause.where(here < there if backwards else here > there)
        direction = (key.desc(), self._id.desc()) if backwards else (key.asc(), self._id.asc())
        return Statement(clause.order_by(*direction).limit(bindparam("limit", type_=Integer)))

    def _after(self, cursor: str, order: str) -> dict[str, Any]:
        kind = self._kinds[order.removeprefix("-")]
        name, key, row_id = lists.decode(cursor, str, kind, lists.ROW)
        if name != self._cursor_name(order):
            raise lists.wrong_cursor()
        if isinstance(key, str) and "\0" in key:  # PostgreSQL's text holds no NUL
            raise lists.wrong_cursor()
        return {"after_key": key, "after_id": row_id}

    def _cursor_name(self, order: str) -> str:
        return f"{self._table.name}:{order}"

    def _shown(self, row: asyncpg.Record) -> Out:
        if not self._decoders:
            return self._out(*row.values())
        values = list(row.values())
        for index, decode in self._decoders:
            if values[index] is not None:
                values[index] = decode(values[index])
        return self._out(*values)

    @contextmanager
    def _refusals(self, fields: Mapping[str, str] = _NO_NAMES) -> Iterator[None]:
        """Turn what PostgreSQL or a type refuses into errors for the client.

        Args:
            fields: the names that clients know, by names of parameters that differ from them.
        """
        try:
            yield
        except InvalidValueError as error:
            (refused,) = error.fields
            raise InvalidValueError(fields.get(refused.field, refused.field), refused.message) from None
        except asyncpg.UniqueViolationError as error:
            named = error.constraint_name if self._taken == "conflict" else None
            raise ProblemError(self._taken, constraint=named) from None
        except asyncpg.ForeignKeyViolationError as error:
            reference = self._references.get(error.constraint_name or "")
            if reference is None or error.table_name != self._table.name:
                raise ProblemError(
                    "conflict", constraint=error.constraint_name
                ) from None  # others refer to it
            message = f"none of this tenant's {reference[1]}"
            raise InvalidValueError(reference[0], message, constraint=error.constraint_name) from None
