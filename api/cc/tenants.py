"""``/cc/tenants``: lists the fleet, shows one tenant, and changes its state."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, Response, delete, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from api.cc.reasons import ACT, ActIn, ReasonParameter
from api.gate.caller import ApiRequest, by
from api.gate.rules import operator
from api.web import lists
from api.web.fields import Reason, Revision, Slug, search
from api.web.lists import Cursor, Limit, Page
from db.audit import By
from db.control import fleet, tenants
from db.control.fleet import TenantFilter
from db.errors import InvalidValueError
from db.ledger.timeline import Step
from db.migrations.lineage import Lineage
from db.migrations.lineages import lineage
from db.names import Line
from db.session.connection import Connection
from db.settings import Settings
from db.tenants.keys import Key
from db.tenants.registry import Tenant
from db.tenants.states import TenantStatus


class FleetTenant(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant as the registry stores it.

    ``version`` counts the tenant's changes. For a deleted tenant, ``status_before`` is the status that
    restoring it brings back, and ``purge_after`` is the time until which it can be restored.
    """

    id: UUID
    slug: str
    name: str
    status: TenantStatus
    status_before: TenantStatus | None
    revision: str | None
    compatible_from: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    purge_after: datetime | None

    @classmethod
    def of(cls, tenant: Tenant) -> "FleetTenant":
        return FleetTenant(**{name: getattr(tenant, name) for name in FleetTenant.__struct_fields__})


class FleetTenantDetail(FleetTenant, frozen=True, kw_only=True):
    """A tenant with its hosts, its keys (without secrets) and its latest steps, oldest first."""

    hosts: list[str]
    keys: list[Key]
    timeline: list[Step]


class RenameIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new slug, a new name, or both. The old slug can be taken by another tenant at once."""

    slug: Slug | None = None
    name: Line | None = None
    reason: Reason | None = None


class MigrateIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The target: ``head``, a revision or the beginning of one. It cannot be older than the tenant's revision."""

    revision: Revision = "head"
    reason: Reason | None = None


class MigrateOut(msgspec.Struct, frozen=True):
    """The command that was written. The tenant's timeline shows its progress."""

    message_id: UUID


class FleetController(Controller):
    """List tenants, and change them."""

    path = "/cc/tenants"
    tags = ("Control center: tenants",)

    @get(opt=operator(), summary="List tenants")
    async def index(
        self,
        request: ApiRequest,
        limit: Limit = lists.DEFAULT_LIMIT,
        cursor: Cursor = None,
        status: Annotated[
            TenantStatus | None, QueryParameter(description="Purged ones are listed only when asked for.")
        ] = None,
        revision: Annotated[
            str | None, search("`head`, a revision or the beginning of one.", longest=100)
        ] = None,
        q: Annotated[str | None, search("Text within slug or name, whatever its case.")] = None,
    ) -> Page[FleetTenant]:
        wanted = _lineage(request).head if revision == "head" else revision or None
        after: tuple[str, UUID] | None = None
        if cursor is not None:
            slug, last_id = lists.decode(cursor, Slug, UUID)
            after = (slug, last_id)
        async with request.auth.database.shared() as connection:
            found = await fleet.list_(
                connection,
                TenantFilter(status=status, revision=wanted, q=q or None),
                limit=limit + 1,
                after=after,
            )
        items = [FleetTenant.of(tenant) for tenant in found[:limit]]
        return Page(items, lists.encode(items[-1].slug, items[-1].id) if len(found) > limit else None)

    @get("/{slug:str}", opt=operator(), summary="See a tenant with all that belongs to it")
    async def read(self, request: ApiRequest, slug: FromPath[str]) -> FleetTenantDetail:
        async with request.auth.database.shared() as connection:
            tenant = await tenants.require(connection, slug)
            belongings = await fleet.get_belongings(connection, tenant)
        return FleetTenantDetail(
            **msgspec.structs.asdict(FleetTenant.of(tenant)), **msgspec.structs.asdict(belongings)
        )

    @post("/{slug:str}/suspend", opt=ACT, status_code=200, summary="Refuse a tenant's requests")
    async def suspend(
        self, request: ApiRequest, slug: FromPath[str], data: JSONBody[ActIn | None] = None
    ) -> FleetTenant:
        return await self._act(request, slug, data, tenants.suspend)

    @post("/{slug:str}/resume", opt=ACT, status_code=200, summary="Serve a suspended tenant again")
    async def resume(
        self, request: ApiRequest, slug: FromPath[str], data: JSONBody[ActIn | None] = None
    ) -> FleetTenant:
        return await self._act(request, slug, data, tenants.resume)

    @delete("/{slug:str}", opt=ACT, summary="Delete a tenant; it can be restored for some days")
    async def remove(self, request: ApiRequest, slug: FromPath[str], reason: ReasonParameter = None) -> None:
        settings: Settings = request.app.state.settings
        async with request.auth.database.shared() as connection:
            await tenants.delete(connection, slug, by(request, reason), days=settings.purge_after_days)

    @post("/{slug:str}/restore", opt=ACT, status_code=200, summary="Make a deleted tenant what it was")
    async def restore(
        self, request: ApiRequest, slug: FromPath[str], data: JSONBody[ActIn | None] = None
    ) -> FleetTenant:
        return await self._act(request, slug, data, tenants.restore)

    @post(
        "/{slug:str}/rename",
        opt=operator() | {"problems": ("state-conflict", "slug-taken")},
        status_code=200,
        summary="Give a tenant another slug or name",
    )
    async def rename(self, request: ApiRequest, slug: FromPath[str], data: JSONBody[RenameIn]) -> FleetTenant:
        if data.slug is None and data.name is None:
            raise InvalidValueError("slug", "a slug or a name is needed")
        async with request.auth.database.shared() as connection:
            tenant = await tenants.rename(
                connection, slug, by(request, data.reason), new_slug=data.slug, name=data.name
            )
        return FleetTenant.of(tenant)

    @post("/{slug:str}/migrate", opt=ACT, status_code=202, summary="Ask for a tenant's migration")
    async def migrate(
        self, request: ApiRequest, slug: FromPath[str], data: JSONBody[MigrateIn | None] = None
    ) -> Response[MigrateOut]:
        wanted = data or MigrateIn()
        async with request.auth.database.shared() as connection:
            command = await tenants.migrate(
                connection, slug, by(request, wanted.reason), _lineage(request), revision=wanted.revision
            )
        return Response(
            MigrateOut(command.id), status_code=202, headers={"Location": f"/cc/tenants/{command.subject}"}
        )

    async def _act(
        self,
        request: ApiRequest,
        slug: str,
        data: ActIn | None,
        act: Callable[[Connection, str, By], Awaitable[Tenant]],
    ) -> FleetTenant:
        async with request.auth.database.shared() as connection:
            return FleetTenant.of(await act(connection, slug, by(request, (data or ActIn()).reason)))


def _lineage(request: ApiRequest) -> Lineage:
    settings: Settings = request.app.state.settings
    return lineage("tenant", settings.alembic_config)
