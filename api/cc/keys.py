"""``/cc/tenants/{slug}/keys``: API keys that operators make for a tenant."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Controller, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from api.cc.reasons import ACT
from api.gate.caller import ApiRequest, by
from api.web.fields import Moment, Reason, ShortName, future
from db.control import keys
from db.tenants import permissions
from db.tenants.permissions import PermissionName


class IssueIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key for a tenant. Without ``scopes`` it permits everything; without ``expires_at`` it never expires."""

    name: ShortName
    scopes: Annotated[list[PermissionName], Meta(min_length=1, max_length=100)] | None = None
    expires_at: Moment | None = None
    reason: Reason | None = None


class IssuedKey(msgspec.Struct, frozen=True):
    """A new key of a tenant. ``api_key`` is shown only this once."""

    id: str
    name: str
    api_key: str
    scopes: list[PermissionName]
    expires_at: datetime | None


class IssueController(Controller):
    path = "/cc/tenants/{slug:str}/keys"
    tags = ("Control center: tenants",)

    @post(opt=ACT, summary="Make a key for a tenant")
    async def create(self, request: ApiRequest, slug: FromPath[str], data: JSONBody[IssueIn]) -> IssuedKey:
        expires_at = future(data.expires_at, "expires_at")
        scopes = list(dict.fromkeys(data.scopes or permissions.ALL))
        async with request.auth.database.shared() as connection:
            key = await keys.create(
                connection,
                slug,
                by(request, data.reason),
                name=data.name,
                scopes=scopes,
                expires_at=expires_at,
            )
        return IssuedKey(key.id, data.name, key.text, scopes, expires_at)
