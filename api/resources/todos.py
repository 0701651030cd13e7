"""``/todos``: a tenant's to-dos."""

from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

import asyncpg
import msgspec
from litestar import Controller, delete, get, patch, post
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, UnsetType
from sqlalchemy import (
    DateTime,
    Integer,
    String,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    tuple_,
    update,
)
from sqlalchemy import delete as delete_from

from api import journal, lists
from api.access import TenantRequest, tenant
from api.fields import Id, Moment, RowId, Search, Title, utc
from api.lists import Cursor, Limit, Page
from api.problems import Problem, invalid
from db.models.tenant import Todo
from db.statements import Statement

Order = Literal["id", "-id", "due_at", "-due_at", "title", "-title"]


class TodoOut(msgspec.Struct, frozen=True):
    """A to-do."""

    id: int
    title: str
    done: bool
    due_at: datetime | None
    owner_id: int | None
    created_at: datetime
    updated_at: datetime


class TodoIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new to-do. ``owner_id`` is a user of the tenant; left out, it is the user who is logged in."""

    title: Title
    done: bool = False
    due_at: Moment | None = None
    owner_id: RowId | None | UnsetType = UNSET


class TodoPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What changes of a to-do; what is left out stays."""

    title: Title | UnsetType = UNSET
    done: bool | UnsetType = UNSET
    due_at: Moment | None | UnsetType = UNSET
    owner_id: RowId | None | UnsetType = UNSET


_COLUMNS: Final = [getattr(Todo, name) for name in TodoOut.__struct_fields__]
_ONE: Final = Statement(select(*_COLUMNS).where(Todo.id == bindparam("id", type_=Integer)))
_ADD: Final = Statement(
    insert(Todo)
    .values({name: bindparam(name, type_=Todo.__table__.c[name].type) for name in TodoIn.__struct_fields__})
    .returning(*_COLUMNS)
)
_REMOVE: Final = Statement(
    delete_from(Todo).where(Todo.id == bindparam("id", type_=Integer)).returning(Todo.id)
)
_FOREVER: Final = literal_column("'infinity'::timestamptz", DateTime(timezone=True))


@lru_cache(maxsize=64)
def _change(names: tuple[str, ...]) -> Statement:
    table = Todo.__table__
    values = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in names}
    return Statement(
        update(Todo)
        .where(Todo.id == bindparam("old_id", type_=Integer))
        .values({**values, "updated_at": func.now()})
        .returning(*_COLUMNS)
    )


_SORTED: Final[dict[str, tuple[Any, type[Any]]]] = {
    "id": (Todo.id, int),
    "due_at": (func.coalesce(Todo.due_at, _FOREVER), datetime),
    "title": (Todo.title, str),
}


@lru_cache(maxsize=512)
def _list(filters: frozenset[str], order: Order, continued: bool) -> Statement:
    key, _ = _SORTED[order.lstrip("-")]
    clause = select(*_COLUMNS)
    if "done" in filters:
        clause = clause.where(Todo.done == bindparam("done", type_=Todo.done.type))
    if "owner_id" in filters:
        clause = clause.where(Todo.owner_id == bindparam("owner_id", type_=Integer))
    if "due_before" in filters:
        clause = clause.where(Todo.due_at < bindparam("due_before", type_=DateTime(timezone=True)))
    if "due_after" in filters:
        clause = clause.where(Todo.due_at >= bindparam("due_after", type_=DateTime(timezone=True)))
    if "q" in filters:
        text = bindparam("q", type_=String)
        clause = clause.where(func.strpos(func.lower(Todo.title), func.lower(text)) > literal_column("0"))
    here = tuple_(key, Todo.id)
    if continued:
        there = tuple_(
            func.coalesce(bindparam("after_key", type_=key.type), _FOREVER)
            if order.endswith("due_at")
            else bindparam("after_key", type_=key.type),
            bindparam("after_id", type_=Integer),
        )
        clause = clause.where(here < there if order.startswith("-") else here > there)
    direction = (key.desc(), Todo.id.desc()) if order.startswith("-") else (key.asc(), Todo.id.asc())
    return Statement(clause.order_by(*direction).limit(bindparam("limit", type_=Integer)))


class TodoController(Controller):
    """To-dos of the tenant that the request is for."""

    path = "/todos"
    tags = ("To-dos",)

    @get(opt=tenant("todos:read"), summary="List to-dos")
    async def index(
        self,
        request: TenantRequest,
        limit: Limit = lists.DEFAULT_LIMIT,
        cursor: Cursor = None,
        done: Annotated[bool | None, QueryParameter(description="Only done ones, or only open ones.")] = None,
        owner_id: Annotated[int | None, QueryParameter(ge=1, le=2**31 - 1)] = None,
        due_before: Annotated[Moment | None, QueryParameter()] = None,
        due_after: Annotated[Moment | None, QueryParameter()] = None,
        q: Search = None,
        order: Annotated[Order, QueryParameter(description="A leading minus turns it round.")] = "id",
    ) -> Page[TodoOut]:
        given = {
            "done": done,
            "owner_id": owner_id,
            "due_before": utc(due_before, "due_before") if due_before else None,
            "due_after": utc(due_after, "due_after") if due_after else None,
            "q": q or None,
        }
        values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        statement = _list(frozenset(values), order, cursor is not None)
        name = order.lstrip("-")
        if cursor is not None:
            kind = _SORTED[name][1]
            sort, values["after_key"], values["after_id"] = lists.decode(
                cursor, str, kind | None if name == "due_at" else kind, int
            )
            if sort != order:
                raise invalid("cursor", "not a cursor of this list in this order")
        async with request.auth.transaction() as transaction:
            rows = await transaction.fetch(statement, limit=limit + 1, **values)
        items = [TodoOut(*row.values()) for row in rows[:limit]]
        more = len(rows) > limit
        last = items[-1] if more else None
        return Page(items, lists.encode(order, getattr(last, name), last.id) if last else None)

    @post(opt=tenant("todos:write"), summary="Create a to-do")
    async def create(self, request: TenantRequest, data: JSONBody[TodoIn]) -> TodoOut:
        due_at = utc(data.due_at, "due_at") if data.due_at else None
        owner_id = request.auth.user_id if data.owner_id is UNSET else data.owner_id
        try:
            async with request.auth.transaction() as transaction:
                made = _found(
                    await transaction.fetchrow(
                        _ADD, title=data.title, done=data.done, due_at=due_at, owner_id=owner_id
                    )
                )
                login = await transaction.as_login()
                await journal.note(request, login, "todo.create", todo_id=made.id)
        except asyncpg.ForeignKeyViolationError:
            raise invalid("owner_id", "no user of this tenant") from None
        return made

    @get("/{todo_id:int}", opt=tenant("todos:read"), summary="Read a to-do")
    async def read(self, request: TenantRequest, todo_id: Id) -> TodoOut:
        async with request.auth.transaction() as transaction:
            row = await transaction.fetchrow(_ONE, id=todo_id)
        return _found(row)

    @patch("/{todo_id:int}", opt=tenant("todos:write"), summary="Change a to-do")
    async def change(self, request: TenantRequest, todo_id: Id, data: JSONBody[TodoPatch]) -> TodoOut:
        changes = {
            name: value for name in TodoPatch.__struct_fields__ if (value := getattr(data, name)) is not UNSET
        }
        if changes.get("due_at") is not None:
            changes["due_at"] = utc(changes["due_at"], "due_at")
        values = {f"new_{name}": value for name, value in changes.items()}
        try:
            async with request.auth.transaction() as transaction:
                changed = _found(
                    await transaction.fetchrow(_change(tuple(changes)), old_id=todo_id, **values)
                )
                login = await transaction.as_login()
                await journal.note(request, login, "todo.change", todo_id=todo_id, fields=sorted(changes))
        except asyncpg.ForeignKeyViolationError:
            raise invalid("owner_id", "no user of this tenant") from None
        return changed

    @delete("/{todo_id:int}", opt=tenant("todos:write"), summary="Delete a to-do")
    async def remove(self, request: TenantRequest, todo_id: Id) -> None:
        async with request.auth.transaction() as transaction:
            if await transaction.fetchval(_REMOVE, id=todo_id) is None:
                raise Problem("not-found")
            login = await transaction.as_login()
            await journal.note(request, login, "todo.delete", todo_id=todo_id)


def _found(row: asyncpg.Record | None) -> TodoOut:
    if row is None:
        raise Problem("not-found")
    return TodoOut(*row.values())
