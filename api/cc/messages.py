"""``/cc/messages``: what operators see of the ledger, and do about one message."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody, QueryParameter

from api import lists
from api.access import operator
from api.cc.acts import ACT, OperatorRequest, by
from api.fields import Moment, Reason, Search, utc
from api.lists import Cursor, Limit, Page
from api.problems import Problem, invalid
from db import messages, remedies
from db.contracts import ContractError
from db.messages import Detail, Filter, Group, Item, Status


class ReasonIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why; it is kept in the audit log."""

    reason: Reason


class EditIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The CloudEvent as it was read, with other ``data``, or that ``data`` alone."""

    payload: dict[str, Any]
    reason: Reason


def _wanted(
    status: Annotated[Status | None, QueryParameter(description="The ledger's status.")] = None,
    kind: Annotated[messages.Kind | None, QueryParameter(description="Commands or events.")] = None,
    type_: Annotated[Search | None, QueryParameter(name="type", description="The message's type.")] = None,
    tenant: Annotated[Search | None, QueryParameter(description="A tenant's slug.")] = None,
    error_class: Annotated[Search | None, QueryParameter(description="What went wrong last.")] = None,
    since: Annotated[Moment | None, QueryParameter(description="Written then or later.")] = None,
) -> Filter:
    return Filter(
        status=status,
        kind=kind,
        type=type_ or None,
        tenant=tenant or None,
        error_class=error_class or None,
        since=utc(since, "since") if since else None,
    )


class MessageController(Controller):
    """Messages: to look at, and to send again."""

    path = "/cc/messages"
    tags = ("Control center: messages",)
    dependencies = {"wanted": Provide(_wanted, sync_to_thread=False)}  # noqa: RUF012 - Litestar's own

    @get(opt=operator(), summary="List messages, newest first")
    async def index(
        self,
        request: OperatorRequest,
        wanted: NamedDependency[Filter],
        limit: Limit = lists.DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Page[Item]:
        before: UUID | None = None
        if cursor is not None:
            (before,) = lists.decode(cursor, UUID)
        async with request.auth.database.shared() as connection:
            found = await messages.find(connection, wanted, limit=limit + 1, before=before)
        items = found[:limit]
        return Page(items, lists.encode(items[-1].id) if len(found) > limit else None)

    @get("/groups", opt=operator(), summary="Group messages that failed alike; parked ones by default")
    async def groups(self, request: OperatorRequest, wanted: NamedDependency[Filter]) -> Page[Group]:
        async with request.auth.database.shared() as connection:
            return Page(await messages.groups(connection, wanted, limit=lists.MAX_LIMIT), None)

    @get("/{message_id:uuid}", opt=operator(), summary="Read a message")
    async def read(self, request: OperatorRequest, message_id: FromPath[UUID]) -> Detail:
        return await self._read(request, message_id)

    @post(
        "/{message_id:uuid}/replay",
        opt=ACT,
        status_code=200,
        summary="Send a message again, under its own id",
    )
    async def replay(
        self, request: OperatorRequest, message_id: FromPath[UUID], data: JSONBody[ReasonIn]
    ) -> Detail:
        return await self._act(request, message_id, data, remedies.replay_one)

    @post(
        "/{message_id:uuid}/archive",
        opt=ACT,
        status_code=200,
        summary="Put a parked message away",
    )
    async def archive(
        self, request: OperatorRequest, message_id: FromPath[UUID], data: JSONBody[ReasonIn]
    ) -> Detail:
        return await self._act(request, message_id, data, remedies.archive)

    @post(
        "/{message_id:uuid}/restore",
        opt=ACT,
        status_code=200,
        summary="Take an archived message back among the parked ones",
    )
    async def restore(
        self, request: OperatorRequest, message_id: FromPath[UUID], data: JSONBody[ReasonIn]
    ) -> Detail:
        return await self._act(request, message_id, data, remedies.restore)

    @post(
        "/{message_id:uuid}/edit",
        opt=operator("messages:edit") | {"problems": ("state-conflict",)},
        status_code=200,
        summary="Send a parked message again with other data, as a new one",
    )
    async def edit(
        self, request: OperatorRequest, message_id: FromPath[UUID], data: JSONBody[EditIn]
    ) -> Detail:
        try:
            async with request.auth.database.shared() as connection:
                made = await remedies.edit(connection, message_id, data.payload, by=by(request, data.reason))
        except ContractError as error:
            raise invalid("payload", str(error)) from None
        return await self._read(request, made)

    async def _act(
        self, request: OperatorRequest, message_id: UUID, data: ReasonIn, act: Callable[..., Awaitable[None]]
    ) -> Detail:
        async with request.auth.database.shared() as connection:
            await act(connection, message_id, by=by(request, data.reason))
        return await self._read(request, message_id)

    async def _read(self, request: OperatorRequest, message_id: UUID) -> Detail:
        async with request.auth.database.shared() as connection:
            found = await messages.read(connection, message_id)
        if found is None:
            raise Problem("not-found")
        return found
