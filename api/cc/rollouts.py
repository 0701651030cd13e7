"""``/cc/rollouts``: brings a revision or a task to all tenants in waves, and watches, stops and mends that."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, post
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response import ServerSentEvent
from msgspec import Meta

from api.cc.reasons import ACT, ReasonIn
from api.gate.caller import ApiRequest, by
from api.gate.deadline import STREAM
from api.gate.rules import operator
from api.web import lists, streams
from api.web.fields import Line, Reason, Revision, Slug
from api.web.lists import Cursor, Limit, Page
from db.audit import By
from db.control import rollout_acts, rollout_orders, rollout_plan, rollout_tenants, rollouts
from db.control.fleet import TenantFilter
from db.control.rollout_orders import WaveSize
from db.control.rollout_plan import RolloutPlan
from db.control.rollout_tenants import RolloutTenant, StepStatus
from db.control.rollouts import MOST_AT_ONCE, OVER, Rollout, RolloutStatus
from db.errors import InvalidValueError
from db.session.connection import Connection
from db.settings import Settings


class RolloutIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to bring to which tenants, and how.

    Args:
        target: ``head``, a revision or the beginning of one; in its place, ``task`` names one of the domain's.
        arguments: the task's.
        canary: how many tenants are tried first, or which.
        wave: how many tenants each further wave is, or their share, such as ``10%``.
        concurrency: how many tenants are worked on at once.
        rate: tenants a second, at most.
        max_failures: how many tenants may fail before the rollout halts.
        bake_time: seconds between two waves.
        filter: which tenants; without one, all that have a schema.
        dry_run: only show the plan.
        reason: required unless ``dry_run`` is set.
    """

    target: Revision | None = None
    task: Line | None = None
    arguments: dict[str, Any] = {}
    canary: (
        Annotated[int, Meta(ge=0, le=rollout_orders.MOST)] | Annotated[list[Slug], Meta(max_length=1000)]
    ) = rollout_orders.CANARY
    wave: WaveSize = rollout_orders.WAVE
    concurrency: Annotated[int, Meta(ge=1, le=MOST_AT_ONCE)] = rollout_orders.CONCURRENCY
    rate: Annotated[int, Meta(ge=1, le=1000)] | None = None
    max_failures: Annotated[int, Meta(ge=0, le=rollout_orders.MOST)] = 0
    bake_time: Annotated[float, Meta(ge=0, le=rollout_orders.LONGEST_BAKE)] = 0.0
    filter: TenantFilter = TenantFilter()
    dry_run: bool = False
    reason: Reason | None = None


class RolloutController(Controller):
    """Begin, watch and steer rollouts."""

    path = "/cc/rollouts"
    tags = ("Control center: rollouts",)

    @post(
        opt=ACT,
        status_code=202,
        summary="Bring a revision or a task to many tenants, or see the plan",
        responses={200: ResponseSpec(RolloutPlan, description="A dry run: nothing was changed.")},
    )
    async def create(self, request: ApiRequest, data: JSONBody[RolloutIn]) -> Response[Rollout | RolloutPlan]:
        chain = request.app.state.tenant_lineage
        order = rollout_orders.order(
            chain,
            target=data.target,
            task=data.task,
            arguments=data.arguments,
            canary=data.canary,
            wave=data.wave,
            concurrency=data.concurrency,
            rate=data.rate,
            max_failures=data.max_failures,
            bake_time=data.bake_time,
            filter_=data.filter,
        )
        if data.dry_run:
            async with request.auth.database.shared() as connection:
                return Response(await rollout_plan.make(connection, chain, order), status_code=200)
        if data.reason is None:
            raise InvalidValueError("reason", "say why")
        async with request.auth.database.shared() as connection:
            started = await rollout_acts.start(connection, by(request, data.reason), order)
        return Response(started, status_code=202, headers={"Location": f"/cc/rollouts/{started.id}"})

    @get(opt=operator(), summary="List rollouts, newest first")
    async def index(
        self,
        request: ApiRequest,
        limit: Limit = lists.DEFAULT_LIMIT,
        cursor: Cursor = None,
        status: Annotated[
            RolloutStatus | None, QueryParameter(description="Only those in this state.")
        ] = None,
    ) -> Page[Rollout]:
        before: UUID | None = None
        if cursor is not None:
            (before,) = lists.decode(cursor, UUID)
        async with request.auth.database.shared() as connection:
            found = await rollouts.list_(connection, status=status, limit=limit + 1, before=before)
        items = found[:limit]
        return Page(items, lists.encode(items[-1].id) if len(found) > limit else None)

    @get("/{rollout_id:uuid}", opt=operator(), summary="See how far a rollout is")
    async def read(self, request: ApiRequest, rollout_id: FromPath[UUID]) -> Rollout:
        async with request.auth.database.shared() as connection:
            return await rollouts.get(connection, rollout_id)

    @get(
        "/{rollout_id:uuid}/events",
        opt={**operator(), **STREAM},
        media_type="text/event-stream",
        summary="Watch a rollout until it is over",
    )
    async def watch(self, request: ApiRequest, rollout_id: FromPath[UUID]) -> ServerSentEvent:
        """Send an event ``status`` for each change; its data is the answer of ``GET /cc/rollouts/{id}``.

        The stream ends when the rollout is finished or aborted, or after a time limit; in that case the client has
        to connect again.
        """
        settings: Settings = request.app.state.settings
        database = request.auth.database

        async def look() -> Rollout:
            async with database.shared() as connection:
                return await rollouts.get(connection, rollout_id)

        return streams.stream(
            await look(),
            look,
            is_over=lambda seen: seen.status in OVER,
            id_of=lambda seen: f"{seen.status}-{seen.current_wave}-{seen.tenants.done}-{seen.tenants.failed}",
            poll=settings.stream_poll,
            limit=settings.stream_limit,
        )

    @get("/{rollout_id:uuid}/tenants", opt=operator(), summary="List a rollout's tenants")
    async def tenants(
        self,
        request: ApiRequest,
        rollout_id: FromPath[UUID],
        limit: Limit = lists.DEFAULT_LIMIT,
        cursor: Cursor = None,
        status: Annotated[StepStatus | None, QueryParameter(description="Only those in this state.")] = None,
    ) -> Page[RolloutTenant]:
        after: tuple[str, UUID] | None = None
        if cursor is not None:
            slug, last = lists.decode(cursor, Slug, UUID)
            after = (slug, last)
        async with request.auth.database.shared() as connection:
            await rollouts.get(connection, rollout_id)
            found = await rollout_tenants.list_(
                connection, rollout_id, status=status, limit=limit + 1, after=after
            )
        items = found[:limit]
        following = lists.encode(items[-1].slug, items[-1].tenant_id) if len(found) > limit else None
        return Page(items, following)

    @post("/{rollout_id:uuid}/pause", opt=ACT, status_code=200, summary="Begin no more tenants")
    async def pause(
        self, request: ApiRequest, rollout_id: FromPath[UUID], data: JSONBody[ReasonIn]
    ) -> Rollout:
        return await self._act(request, rollout_id, data, rollout_acts.pause)

    @post("/{rollout_id:uuid}/resume", opt=ACT, status_code=200, summary="Go on with the tenants that wait")
    async def resume(
        self, request: ApiRequest, rollout_id: FromPath[UUID], data: JSONBody[ReasonIn]
    ) -> Rollout:
        return await self._act(request, rollout_id, data, rollout_acts.resume)

    @post("/{rollout_id:uuid}/abort", opt=ACT, status_code=200, summary="End a rollout where it is")
    async def abort(
        self, request: ApiRequest, rollout_id: FromPath[UUID], data: JSONBody[ReasonIn]
    ) -> Rollout:
        return await self._act(request, rollout_id, data, rollout_acts.abort)

    @post(
        "/{rollout_id:uuid}/retry", opt=ACT, status_code=200, summary="Go on, also with tenants that failed"
    )
    async def retry(
        self, request: ApiRequest, rollout_id: FromPath[UUID], data: JSONBody[ReasonIn]
    ) -> Rollout:
        return await self._act(request, rollout_id, data, rollout_acts.retry)

    async def _act(
        self,
        request: ApiRequest,
        rollout_id: UUID,
        data: ReasonIn,
        act: Callable[[Connection, UUID, By], Awaitable[Rollout]],
    ) -> Rollout:
        async with request.auth.database.shared() as connection:
            return await act(connection, rollout_id, by(request, data.reason))
