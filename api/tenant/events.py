"""``/tenants/{slug}/events``: sends a tenant's status as server-sent events while it is provisioned."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from litestar import Controller, get
from litestar.params import FromPath
from litestar.response import ServerSentEvent
from litestar.response.sse import ServerSentEventMessage

from api.gate.caller import ApiRequest
from api.gate.deadline import STREAM
from api.gate.directory import Directory
from api.gate.rules import tenant_or_operator
from api.tenant.signup import TenantOut, get_status
from db.errors import ProblemError
from db.session.tenancy import Database
from db.settings import Settings

_UNDER_WAY: Final = frozenset({"pending", "provisioning"})
_SIGN_OF_LIFE: Final = 15.0
_BREATH: Final = 0.1
"""Seconds between two looks, at least, however often the registry changes."""


class TenantEventController(Controller):
    """Watch a tenant's provisioning."""

    path = "/tenants"
    tags = ("Tenants",)

    @get(
        "/{slug:str}/events",
        opt={**tenant_or_operator(), **STREAM},
        media_type="text/event-stream",
        summary="Watch a tenant until it is active or has failed",
    )
    async def watch(self, request: ApiRequest, slug: FromPath[str]) -> ServerSentEvent:
        """Send an event ``status`` for each change; its data is the answer of ``GET /tenants/{slug}``.

        The stream ends when the tenant is active or has failed, or after a time limit; in that case the
        client has to connect again.
        """
        settings: Settings = request.app.state.settings
        first = await get_status(request.auth.database, slug)
        if first is None:
            raise ProblemError("not-found")
        return ServerSentEvent(
            _changes(
                request.auth.database,
                request.app.state.directory,
                first,
                poll=settings.stream_poll,
                until=time.monotonic() + settings.stream_limit,
            ),
            headers={"Cache-Control": "no-store"},
        )


async def _changes(
    database: Database, directory: Directory, first: TenantOut, *, poll: float, until: float
) -> AsyncIterator[ServerSentEventMessage]:
    seen: TenantOut | None = first
    told: bytes | None = None
    spoke = time.monotonic()
    while seen is not None:
        now = time.monotonic()
        said = msgspec.json.encode(seen)
        if said != told:
            told, spoke = said, now
            yield ServerSentEventMessage(data=said, event="status", id=seen.updated_at.isoformat())
        elif now - spoke >= _SIGN_OF_LIFE:
            spoke = now
            yield ServerSentEventMessage(data=None, comment="still here")
        if seen.status not in _UNDER_WAY or now >= until:
            return
        await directory.change(within=min(poll, max(until - now, 0.0)))
        await asyncio.sleep(max(now + _BREATH - time.monotonic(), 0))
        seen = await get_status(database, first.slug)
        if seen is not None and seen.id != first.id:
            return  # the tenant was renamed, and another one has the slug now
