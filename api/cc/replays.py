"""``/cc/replays``: many messages sent again, at a rate, by the provisioners."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, Response, delete, get, post
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from api.access import operator
from api.cc.acts import OperatorRequest, by
from api.fields import Reason, utc
from api.problems import Problem, invalid
from db import replays
from db.messages import Filter
from db.replays import Preview, Rate, Replay


class ReplayIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which messages to send again, how fast and why.

    Args:
        filter: the list's filters, at least one of them; of what they mean, all that can be sent again.
        reason: needed unless it is a dry run.
        dry_run: only count them.
        expected_count: how many there must be, or else nothing is done.
        rate: messages a second.
    """

    filter: Filter
    reason: Reason | None = None
    dry_run: bool = False
    expected_count: Annotated[int, Meta(ge=0)] | None = None
    rate: Rate = replays.DEFAULT_RATE


class ReplayController(Controller):
    """Bulk replays."""

    path = "/cc/replays"
    tags = ("Control center: messages",)

    @post(
        opt=operator() | {"problems": ("count-mismatch",)},
        status_code=202,
        summary="Send many messages again, or count them",
        responses={200: ResponseSpec(Preview, description="A dry run: nothing was changed.")},
    )
    async def create(self, request: OperatorRequest, data: JSONBody[ReplayIn]) -> Response[Replay | Preview]:
        wanted = data.filter
        if wanted.empty:
            raise invalid("filter", "name at least one filter")
        if wanted.since is not None:
            wanted = msgspec.structs.replace(wanted, since=utc(wanted.since, "filter.since"))
        database = request.auth.database
        if data.dry_run:
            async with database.shared() as connection:
                return Response(await replays.preview(connection, wanted), status_code=200)
        if data.reason is None:
            raise invalid("reason", "say why")
        async with database.shared() as connection:
            started = await replays.start(
                connection,
                wanted,
                rate=data.rate,
                by=by(request, data.reason),
                expected_count=data.expected_count,
            )
        headers = {"Location": f"/cc/replays/{started.id}"}
        return Response(started, status_code=202, headers=headers)

    @get("/{replay_id:uuid}", opt=operator(), summary="See how far a bulk replay is")
    async def read(self, request: OperatorRequest, replay_id: FromPath[UUID]) -> Replay:
        async with request.auth.database.shared() as connection:
            return _found(await replays.read(connection, replay_id))

    @delete(
        "/{replay_id:uuid}",
        opt=operator(),
        status_code=200,
        summary="Cancel a bulk replay; what has been sent stays so",
    )
    async def cancel(self, request: OperatorRequest, replay_id: FromPath[UUID]) -> Replay:
        async with request.auth.database.shared() as connection:
            return _found(await replays.cancel(connection, replay_id, by=by(request)))


def _found(replay: Replay | None) -> Replay:
    if replay is None:
        raise Problem("not-found")
    return replay
