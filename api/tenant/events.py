"""``/tenants/{slug}/events``: sends a tenant's status as server-sent events while it is provisioned."""

from typing import Final

from litestar import Controller, get
from litestar.params import FromPath
from litestar.response import ServerSentEvent

from api.gate.caller import ApiRequest
from api.gate.deadline import STREAM
from api.gate.directory import Directory
from api.gate.rules import tenant_or_operator
from api.tenant.signup import TenantOut, get_status
from api.web import streams
from db.errors import ProblemError
from db.settings import Settings

_UNDER_WAY: Final = frozenset({"pending", "provisioning"})


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
        directory: Directory = request.app.state.directory
        database = request.auth.database
        first = await get_status(database, slug)
        if first is None:
            raise ProblemError("not-found")

        async def look() -> TenantOut | None:
            seen = await get_status(database, first.slug)
            # If it was renamed, another one may have the slug now.
            return seen if seen is not None and seen.id == first.id else None

        return streams.stream(
            first,
            look,
            is_over=lambda seen: seen.status not in _UNDER_WAY,
            id_of=lambda seen: seen.updated_at.isoformat(),
            wait=lambda within: directory.change(within=within),
            poll=settings.stream_poll,
            limit=settings.stream_limit,
        )
