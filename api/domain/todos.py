"""``/todos``: a tenant's to-dos."""

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from litestar import Controller, delete, get, patch, post
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, UnsetType

from api.gate.caller import ApiRequest
from api.gate.rules import tenant
from api.web import lists
from api.web.fields import Id, Moment, RowId, Search, Title
from api.web.lists import Cursor, Limit, Page
from api.web.resource import Resource, before, changes, contains, equals, since
from db.domain import Todo

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
    """A new to-do. ``owner_id`` is a user of the tenant; by default the user who is logged in."""

    title: Title
    done: bool = False
    due_at: Moment | None = None
    owner_id: RowId | None | UnsetType = UNSET


class TodoPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fields of a to-do to change; fields that are left out stay as they are."""

    title: Title | UnsetType = UNSET
    done: bool | UnsetType = UNSET
    due_at: Moment | None | UnsetType = UNSET
    owner_id: RowId | None | UnsetType = UNSET


TODOS: Final = Resource(
    Todo,
    TodoOut,
    "todo",
    order=("id", "due_at", "title"),
    filters={
        "done": equals(Todo.done),
        "owner_id": equals(Todo.owner_id),
        "due_before": before(Todo.due_at),
        "due_after": since(Todo.due_at),
        "q": contains(Todo.title),
    },
)


class TodoController(Controller):
    """The to-dos of the caller's tenant."""

    path = "/todos"
    tags = ("To-dos",)

    @get(opt=tenant("todos:read"), summary="List to-dos")
    async def index(
        self,
        request: ApiRequest,
        limit: Limit = lists.DEFAULT_LIMIT,
        cursor: Cursor = None,
        done: Annotated[bool | None, QueryParameter(description="Only done ones, or only open ones.")] = None,
        owner_id: Annotated[int | None, QueryParameter(ge=1, le=2**31 - 1)] = None,
        due_before: Annotated[Moment | None, QueryParameter()] = None,
        due_after: Annotated[Moment | None, QueryParameter()] = None,
        q: Search = None,
        order: Annotated[Order, QueryParameter(description="A leading minus turns it round.")] = "id",
    ) -> Page[TodoOut]:
        filters = {"done": done, "owner_id": owner_id, "due_before": due_before, "due_after": due_after}
        return await TODOS.page(request, limit=limit, cursor=cursor, order=order, q=q or None, **filters)

    @post(opt=tenant("todos:write"), summary="Create a to-do")
    async def create(self, request: ApiRequest, data: JSONBody[TodoIn]) -> TodoOut:
        owner_id = request.auth.user_id if data.owner_id is UNSET else data.owner_id
        return await TODOS.create(request, {**msgspec.structs.asdict(data), "owner_id": owner_id})

    @get("/{todo_id:int}", opt=tenant("todos:read"), summary="Read a to-do")
    async def read(self, request: ApiRequest, todo_id: Id) -> TodoOut:
        return await TODOS.read(request, todo_id)

    @patch("/{todo_id:int}", opt=tenant("todos:write"), summary="Change a to-do")
    async def change(self, request: ApiRequest, todo_id: Id, data: JSONBody[TodoPatch]) -> TodoOut:
        return await TODOS.change(request, todo_id, changes(data))

    @delete("/{todo_id:int}", opt=tenant("todos:write"), summary="Delete a to-do")
    async def remove(self, request: ApiRequest, todo_id: Id) -> None:
        await TODOS.remove(request, todo_id)
