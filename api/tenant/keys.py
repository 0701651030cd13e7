"""``/keys``: a tenant's API keys. A key is shown once; only its hash is kept."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Controller, delete, get, post
from litestar.params import JSONBody, PathParameter
from msgspec import Meta

from api.gate.caller import ApiRequest, by
from api.gate.directory import Directory
from api.gate.rules import tenant
from api.web import lists
from api.web.fields import Moment, ShortName, future
from api.web.lists import Cursor, Limit, Page
from db import audit
from db.errors import ProblemError
from db.moments import checked
from db.settings import Settings
from db.tenants import keys, permissions, registry, tokens
from db.tenants.permissions import PermissionName

KeyId = Annotated[str, PathParameter(pattern=r"\A[a-z2-7]{16}\Z")]


class KeyOut(msgspec.Struct, frozen=True):
    """An API key, without its secret. ``last_used_at`` can be about a minute late."""

    id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class KeyIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new key. Without ``scopes`` it gets all permissions of the token that creates it."""

    name: ShortName
    scopes: Annotated[list[PermissionName], Meta(min_length=1, max_length=100)] | None = None
    expires_at: Moment | None = None


class KeyMade(msgspec.Struct, frozen=True):
    """A new key. ``api_key`` is shown only this once."""

    id: str
    name: str
    scopes: list[str]
    expires_at: datetime | None
    api_key: str


class KeyController(Controller):
    """The API keys of the caller's tenant."""

    path = "/keys"
    tags = ("API keys",)

    @get(opt=tenant("keys:read"), summary="List API keys that have not been revoked")
    async def index(
        self, request: ApiRequest, limit: Limit = lists.DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Page[KeyOut]:
        after: tuple[datetime, str] | None = None
        if cursor is not None:
            made_at, key_id = lists.decode(cursor, Moment, str)
            after = (checked(made_at, "cursor"), key_id.replace("\0", ""))
        async with request.auth.database.shared() as connection:
            found = await keys.list_unrevoked(connection, request.auth.home.id, limit=limit + 1, after=after)
        items = [KeyOut(*(getattr(key, name) for name in KeyOut.__struct_fields__)) for key in found[:limit]]
        last = items[-1] if len(found) > limit else None
        return Page(items, lists.encode(last.created_at, last.id) if last else None)

    @post(opt={**tenant("keys:write"), "problems": ("key-limit",)}, summary="Create an API key")
    async def create(self, request: ApiRequest, data: JSONBody[KeyIn]) -> KeyMade:
        caller = request.auth
        held = [name for name in permissions.ALL if name in caller.permissions]
        scopes = held if data.scopes is None else sorted(set(data.scopes))
        caller.check_may_give(scopes)
        expires_at = future(data.expires_at, "expires_at")
        settings: Settings = request.app.state.settings
        async with caller.database.shared() as connection:
            await registry.lock(connection, caller.home.id)  # so that two at once are both counted
            live = await keys.count_live(connection, caller.home.id)
            if live >= settings.key_limit:
                raise ProblemError("key-limit")
            key = await keys.create(
                connection, by(request), caller.home.id, name=data.name, scopes=scopes, expires_at=expires_at
            )
        return KeyMade(key.id, data.name, list(scopes), expires_at, key.text)

    @delete("/{key_id:str}", opt=tenant("keys:write"), summary="Revoke an API key")
    async def revoke(self, request: ApiRequest, key_id: KeyId) -> None:
        """Revoke a key at once. It may be the key that the request was sent with."""
        caller = request.auth
        async with caller.database.shared() as connection:
            if await tokens.revoke(connection, key_id, kind="tenant", tenant_id=caller.home.id) is None:
                raise ProblemError("not-found")
            await audit.record(connection, by(request), "key.revoke", tenant_id=caller.home.id, key_id=key_id)
        directory: Directory = request.app.state.directory
        directory.forget()
