"""``/tenants``: sign-up, and what a new tenant can see of its own provisioning."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import asyncpg
import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.datastructures import State
from litestar.params import FromPath, HeaderParameter, JSONBody

from api import passwords
from api.access import Caller, signup, tenant_or_operator
from api.fields import Email, Host, Line, Password, ShortName, Slug
from api.problems import Problem, invalid
from api.requests import request_id
from db import audit, idempotency, names, registry
from db.connection import Connection
from db.names import NameRefused
from db.registry import Tenant
from db.signup import Administrator, SignedUp, Taken, sign_up
from db.tenancy import Database
from db.timeline import Step, timeline

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=22,
        max_length=255,
        description="Random, 128 bits or more: the same request, sent again with it, is done once.",
    ),
]


class AdminIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tenant's first user."""

    email: Email
    password: Password
    first_name: ShortName | None = None
    last_name: ShortName | None = None


class SignUpIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sign-up. Without a slug, one is made from the name."""

    name: Line
    slug: Slug | None = None
    host: Host | None = None
    admin: AdminIn | None = None


class SignUpOut(msgspec.Struct, frozen=True):
    """An accepted sign-up. The key is shown this once.

    Sent again under the same ``Idempotency-Key``, it is answered with a fresh key in place of the first;
    once that has been used, whoever sends it has it, and ``api_key`` is null.
    """

    id: UUID
    slug: str
    status: str
    api_key: str | None


class TenantOut(msgspec.Struct, frozen=True):
    """A tenant, and the steps it has taken so far, oldest first."""

    id: UUID
    slug: str
    name: str
    status: str
    revision: str | None
    created_at: datetime
    updated_at: datetime
    timeline: list[Step]


class TenantController(Controller):
    """Sign-up and its progress."""

    path = "/tenants"
    tags = ("Tenants",)

    @post(
        opt={
            **signup(),
            "problems": ("slug-taken", "host-taken", "email-taken", "idempotency-mismatch"),
        },
        status_code=202,
        summary="Sign a tenant up",
    )
    async def create(
        self,
        request: Request[None, Caller, State],
        data: JSONBody[SignUpIn],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[SignUpOut]:
        """Sign a tenant up. Its schema is built a moment later; ``Location`` tells how it goes."""
        _check_names(data)
        if idempotency_key is None:
            return _accepted(await _sign_up(request, data, None))
        repeatable = idempotency.Request.of(idempotency_key, data)
        before = await _answered(request, repeatable)
        if before is None:
            try:
                return _accepted(await _sign_up(request, data, repeatable))
            except (Taken, asyncpg.UniqueViolationError):
                # By the same request, sent twice at once, perhaps.
                before = await _answered(request, repeatable)
                if before is None:
                    raise
        return _accepted(before)

    @get("/{slug:str}", opt=tenant_or_operator(), summary="See a tenant's status")
    async def read(self, request: Request[None, Caller, State], slug: FromPath[str]) -> TenantOut:
        found = await see(request.auth.database, slug)
        if found is None:
            raise Problem("not-found")
        return found


async def see(database: Database, slug: str) -> TenantOut | None:
    """Return what there is to see of a tenant; None where there is none."""
    async with database.shared() as connection:
        tenant = await registry.find(connection, slug)
        if tenant is None:
            return None
        steps = await timeline(connection, tenant.id)
    return TenantOut(
        id=tenant.id,
        slug=tenant.slug,
        name=tenant.name,
        status=tenant.status,
        revision=tenant.revision,
        created_at=tenant.created_at,
        updated_at=tenant.updated_at,
        timeline=steps,
    )


def _accepted(done: SignedUp | idempotency.Answered) -> Response[SignUpOut]:
    # What it was when the request was first answered: the same request has the same answer.
    key = done.key.text if done.key else None
    return Response(
        SignUpOut(done.tenant.id, done.tenant.slug, "pending", key),
        status_code=202,
        headers={"Location": f"/tenants/{done.tenant.slug}", "Cache-Control": "no-store"},
    )


async def _sign_up(
    request: Request[None, Caller, State], data: SignUpIn, repeatable: idempotency.Request | None
) -> SignedUp:
    administrator = None
    if data.admin is not None:
        administrator = Administrator(
            email=data.admin.email.casefold(),
            first_name=data.admin.first_name,
            last_name=data.admin.last_name,
            password_hash=await passwords.hashed(data.admin.password),
        )
    async with request.auth.database.shared() as connection:
        made = await sign_up(
            connection, name=data.name, slug=data.slug, host=data.host, administrator=administrator
        )
        if repeatable is not None and made.key is not None:
            await idempotency.remember(connection, repeatable, made.tenant.id, made.key.id)
        await _note(request, connection, "tenant.create", made.tenant)
    return made


async def _answered(
    request: Request[None, Caller, State], repeatable: idempotency.Request
) -> idempotency.Answered | None:
    async with request.auth.database.shared() as connection:
        before = await idempotency.answered(connection, repeatable)
        if before is not None:
            await _note(request, connection, "tenant.create_again", before.tenant)
    return before


async def _note(
    request: Request[None, Caller, State], connection: Connection, action: str, tenant: Tenant
) -> None:
    await audit.record(
        connection,
        actor=request.auth.actor,
        action=action,
        tenant_id=tenant.id,
        request_id=request_id(request.scope),
    )


def _check_names(data: SignUpIn) -> None:
    """Refuse a slug or host by its field, before any work is done."""
    field = "slug"
    try:
        names.slug(data.slug) if data.slug is not None else names.slug_from(data.name)
        field = "host"
        if data.host is not None:
            names.host(data.host)
    except NameRefused as error:
        raise invalid(field, str(error)) from None
