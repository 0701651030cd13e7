"""``/cc/replays``: bulk replays, in which the provisioners send many messages again at a given rate."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, Response, delete, get, post
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from api.gate.caller import ApiRequest, by
from api.gate.rules import operator
from api.web.fields import Reason
from db.control import replays
from db.control.replays import Preview, Rate, Replay
from db.errors import InvalidValueError, ProblemError
from db.ledger.lists import MessageFilter


class ReplayIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which messages to send again, how fast and why.

    Args:
        filter: the filters of the message list, at least one; matching messages that cannot be sent again
            are left out.
        reason: required unless ``dry_run`` is set.
        dry_run: only count the messages.
        expected_count: how many messages must match; if the number differs, nothing is changed.
        rate: messages per second, at most.
    """

    filter: MessageFilter
    reason: Reason | None = None
    dry_run: bool = False
    expected_count: Annotated[int, Meta(ge=0)] | None = None
    rate: Rate = replays.DEFAULT_RATE


class ReplayController(Controller):
    """Start, read and cancel bulk replays."""

    path = "/cc/replays"
    tags = ("Control center: messages",)

    @post(
        opt=operator() | {"problems": ("count-mismatch",)},
        status_code=202,
        summary="Send many messages again, or count them",
        responses={200: ResponseSpec(Preview, description="A dry run: nothing was changed.")},
    )
    async def create(self, request: ApiRequest, data: JSONBody[ReplayIn]) -> Response[Replay | Preview]:
        wanted = data.filter
        if wanted.empty:
            raise InvalidValueError("filter", "name at least one filter")
        database = request.auth.database
        if data.dry_run:
            async with database.shared() as connection:
                return Response(await replays.preview(connection, wanted), status_code=200)
        if data.reason is None:
            raise InvalidValueError("reason", "say why")
        async with database.shared() as connection:
            started = await replays.start(
                connection,
                wanted,
                by(request, data.reason),
                rate=data.rate,
                expected_count=data.expected_count,
            )
        headers = {"Location": f"/cc/replays/{started.id}"}
        return Response(started, status_code=202, headers=headers)

    @get("/{replay_id:uuid}", opt=operator(), summary="See how far a bulk replay is")
    async def read(self, request: ApiRequest, replay_id: FromPath[UUID]) -> Replay:
        async with request.auth.database.shared() as connection:
            found = await replays.get(connection, replay_id)
        if found is None:
            raise ProblemError("not-found")
        return found

    @delete(
        "/{replay_id:uuid}",
        opt=operator(),
        status_code=200,
        summary="Cancel a bulk replay; what has been sent stays so",
    )
    async def cancel(self, request: ApiRequest, replay_id: FromPath[UUID]) -> Replay:
        async with request.auth.database.shared() as connection:
            return await replays.cancel(connection, replay_id, by(request))
