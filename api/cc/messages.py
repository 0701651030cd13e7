"""``/cc/messages``: lists the ledger's messages, and acts on a single one."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody, QueryParameter

from api.cc.reasons import ACT, ReasonIn
from api.gate.caller import ApiRequest, by
from api.gate.rules import operator
from api.web import lists
from api.web.fields import Moment, Reason, search
from api.web.lists import Cursor, Limit, Page
from db.control import messages
from db.errors import ProblemError
from db.ledger import history
from db.ledger import lists as ledger_lists
from db.ledger.history import MessageDetail
from db.ledger.lists import MessageFilter, MessageGroup, MessageItem
from db.ledger.states import MessageKind, MessageStatus


class EditIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """New data for a parked message: the whole CloudEvent with its ``data`` changed, or only the ``data``."""

    payload: dict[str, Any]
    reason: Reason


def _wanted(
    status: Annotated[MessageStatus | None, QueryParameter(description="The ledger's status.")] = None,
    kind: Annotated[MessageKind | None, QueryParameter(description="Commands or events.")] = None,
    type_: Annotated[str | None, search("The message's type.", name="type")] = None,
    tenant: Annotated[str | None, search("A tenant's slug.")] = None,
    error_class: Annotated[str | None, search("What went wrong last.")] = None,
    since: Annotated[Moment | None, QueryParameter(description="Written then or later.")] = None,
) -> MessageFilter:
    return MessageFilter(
        status=status,
        kind=kind,
        type=type_ or None,
        tenant=tenant or None,
        error_class=error_class or None,
        since=since,
    )


class MessageController(Controller):
    """Read messages and send them again."""

    path = "/cc/messages"
    tags = ("Control center: messages",)
    dependencies = {"wanted": Provide(_wanted, sync_to_thread=False)}  # noqa: RUF012 - Litestar's own

    @get(opt=operator(), summary="List messages, newest first")
    async def index(
        self,
        request: ApiRequest,
        wanted: NamedDependency[MessageFilter],
        limit: Limit = lists.DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Page[MessageItem]:
        before: UUID | None = None
        if cursor is not None:
            (before,) = lists.decode(cursor, UUID)
        async with request.auth.database.shared() as connection:
            found = await ledger_lists.list_(connection, wanted, limit=limit + 1, before=before)
        items = found[:limit]
        return Page(items, lists.encode(items[-1].id) if len(found) > limit else None)

    @get("/groups", opt=operator(), summary="Group messages that failed alike; parked ones by default")
    async def groups(self, request: ApiRequest, wanted: NamedDependency[MessageFilter]) -> Page[MessageGroup]:
        async with request.auth.database.shared() as connection:
            return Page(await ledger_lists.list_groups(connection, wanted, limit=lists.MAX_LIMIT), None)

    @get("/{message_id:uuid}", opt=operator(), summary="Read a message")
    async def read(self, request: ApiRequest, message_id: FromPath[UUID]) -> MessageDetail:
        return await self._read(request, message_id)

    @post(
        "/{message_id:uuid}/replay",
        opt=ACT,
        status_code=200,
        summary="Send a message again, under its own id",
    )
    async def replay(
        self, request: ApiRequest, message_id: FromPath[UUID], data: JSONBody[ReasonIn]
    ) -> MessageDetail:
        return await self._act(request, message_id, data, messages.replay_one)

    @post(
        "/{message_id:uuid}/archive",
        opt=ACT,
        status_code=200,
        summary="Put away a message that is parked, or waits for a newer release",
    )
    async def archive(
        self, request: ApiRequest, message_id: FromPath[UUID], data: JSONBody[ReasonIn]
    ) -> MessageDetail:
        return await self._act(request, message_id, data, messages.archive)

    @post(
        "/{message_id:uuid}/restore",
        opt=ACT,
        status_code=200,
        summary="Take an archived message back among the parked ones",
    )
    async def restore(
        self, request: ApiRequest, message_id: FromPath[UUID], data: JSONBody[ReasonIn]
    ) -> MessageDetail:
        return await self._act(request, message_id, data, messages.restore)

    @post(
        "/{message_id:uuid}/edit",
        opt=operator("messages:edit") | {"problems": ("state-conflict",)},
        status_code=200,
        summary="Send a parked message again with other data, as a new one",
    )
    async def edit(
        self, request: ApiRequest, message_id: FromPath[UUID], data: JSONBody[EditIn]
    ) -> MessageDetail:
        async with request.auth.database.shared() as connection:
            made = await messages.edit(connection, message_id, data.payload, by(request, data.reason))
        return await self._read(request, made)

    async def _act(
        self, request: ApiRequest, message_id: UUID, data: ReasonIn, act: Callable[..., Awaitable[None]]
    ) -> MessageDetail:
        async with request.auth.database.shared() as connection:
            await act(connection, message_id, by(request, data.reason))
        return await self._read(request, message_id)

    async def _read(self, request: ApiRequest, message_id: UUID) -> MessageDetail:
        async with request.auth.database.shared() as connection:
            found = await history.get(connection, message_id)
        if found is None:
            raise ProblemError("not-found")
        return found
