"""``/tenants``: signs tenants up, and shows a tenant the state of its provisioning."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, post
from litestar.params import FromPath, HeaderParameter, JSONBody

from api.gate.caller import ApiRequest, by
from api.gate.rules import signup, tenant_or_operator
from api.tenant import passwords
from api.web.fields import Email, Host, Password, ShortName, Slug
from db import names
from db.errors import ProblemError
from db.ledger import timeline
from db.ledger.timeline import Step
from db.names import Line
from db.session.tenancy import Database
from db.tenants import idempotency, registry
from db.tenants import signup as signups
from db.tenants.people import Administrator
from db.tenants.signup import SignedUp

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=22,
        max_length=255,
        pattern=r"\A[\x21-\x7e]+\Z",
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
    """A sign-up. Without ``slug``, a slug is made from the name."""

    name: Line
    slug: Slug | None = None
    host: Host | None = None
    admin: AdminIn | None = None


class SignUpOut(msgspec.Struct, frozen=True):
    """An accepted sign-up. ``api_key`` is shown only this once.

    If the request is sent again with the same ``Idempotency-Key``, a fresh key replaces the one before. Once
    a key has been used, the client evidently has it, and ``api_key`` is null.
    """

    id: UUID
    slug: str
    status: str
    api_key: str | None


class TenantOut(msgspec.Struct, frozen=True):
    """A tenant and the latest steps of its timeline, oldest first."""

    id: UUID
    slug: str
    name: str
    status: str
    revision: str | None
    created_at: datetime
    updated_at: datetime
    timeline: list[Step]


class TenantController(Controller):
    """Sign tenants up, and show their status."""

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
        request: ApiRequest,
        data: JSONBody[SignUpIn],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[SignUpOut]:
        """Sign a tenant up. A provisioner builds its schema afterwards; ``Location`` shows the progress."""
        wanted = signups.checked(name=data.name, slug=data.slug, host=data.host)
        if data.admin is not None:
            wanted = msgspec.structs.replace(wanted, administrator=await _administrator(data.admin))
        once = idempotency.Request.of(idempotency_key, data) if idempotency_key else None
        async with request.auth.database.shared() as connection:
            return _accepted(await signups.sign_up(connection, wanted, by(request), once=once))

    @get("/{slug:str}", opt=tenant_or_operator(), summary="See a tenant's status")
    async def read(self, request: ApiRequest, slug: FromPath[str]) -> TenantOut:
        found = await get_status(request.auth.database, slug)
        if found is None:
            raise ProblemError("not-found")
        return found


async def get_status(database: Database, slug: str) -> TenantOut | None:
    """Return a tenant with its timeline, or None if no tenant has the slug."""
    async with database.shared() as connection:
        tenant = await registry.get_named(connection, slug)
        if tenant is None:
            return None
        steps = await timeline.list_steps(connection, tenant.id)
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


async def _administrator(admin: AdminIn) -> Administrator:
    return Administrator(
        email=names.mailbox(admin.email),
        first_name=admin.first_name,
        last_name=admin.last_name,
        password_hash=await passwords.hashed(admin.password),
    )


def _accepted(done: SignedUp) -> Response[SignUpOut]:
    # Always ``pending``, as when the request was first answered: the same request gets the same answer.
    key = done.key.text if done.key else None
    return Response(
        SignUpOut(done.tenant.id, done.tenant.slug, "pending", key),
        status_code=202,
        headers={"Location": f"/tenants/{done.tenant.slug}", "Cache-Control": "no-store"},
    )
