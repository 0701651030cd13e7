"""``/keys``: a tenant's API keys. A key is shown once; of it, only a hash is kept."""

from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
from litestar import Controller, delete, get, post
from litestar.params import JSONBody, PathParameter
from msgspec import Meta

from api import journal, lists
from api.access import TenantRequest, tenant
from api.directory import Directory
from api.fields import Moment, ShortName, utc
from api.lists import Cursor, Limit, Page
from api.problems import Problem, invalid
from db import permissions, registry, tokens
from db.permissions import Permission
from db.settings import Settings

KeyId = Annotated[str, PathParameter(pattern=r"^[a-z2-7]{16}$")]

_COLUMNS: Final = "id, name, scopes, created_at, expires_at, last_used_at"


class KeyOut(msgspec.Struct, frozen=True):
    """An API key, without its secret. ``last_used_at`` is true to a minute or so."""

    id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class KeyIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new key. Without scopes, it permits all that the token does which makes it."""

    name: ShortName
    scopes: Annotated[list[Permission], Meta(min_length=1, max_length=100)] | None = None
    expires_at: Moment | None = None


class KeyMade(msgspec.Struct, frozen=True):
    """A new key. It is shown this once."""

    id: str
    name: str
    scopes: list[str]
    expires_at: datetime | None
    api_key: str


class KeyController(Controller):
    """API keys of the tenant that the request is for."""

    path = "/keys"
    tags = ("API keys",)

    @get(opt=tenant("keys:read"), summary="List API keys that have not been revoked")
    async def index(
        self, request: TenantRequest, limit: Limit = lists.DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Page[KeyOut]:
        after = lists.decode(cursor, datetime, str) if cursor is not None else None
        async with request.auth.database.shared() as connection:
            rows = await connection.fetch(
                f"""
                SELECT {_COLUMNS} FROM shared.access_tokens
                WHERE tenant_id = $1 AND kind = 'tenant' AND revoked_at IS NULL
                  AND ($2::timestamptz IS NULL OR (created_at, id) > ($2, $3))
                ORDER BY created_at, id LIMIT $4
                """,
                request.auth.home.id,
                utc(after[0], "cursor") if after else None,
                after[1].replace("\0", "") if after else None,
                limit + 1,
            )
        items = [KeyOut(*row.values()) for row in rows[:limit]]
        last = items[-1] if len(rows) > limit else None
        return Page(items, lists.encode(last.created_at, last.id) if last else None)

    @post(opt={**tenant("keys:write"), "problems": ("key-limit",)}, summary="Create an API key")
    async def create(self, request: TenantRequest, data: JSONBody[KeyIn]) -> KeyMade:
        caller = request.auth
        held = [name for name in permissions.ALL if name in caller.permissions]
        scopes = held if data.scopes is None else sorted(set(data.scopes))
        caller.check_may_give(scopes)
        expires_at = utc(data.expires_at, "expires_at") if data.expires_at else None
        if expires_at is not None and expires_at <= datetime.now(UTC):
            raise invalid("expires_at", "this is past")
        settings: Settings = request.app.state.settings
        key = tokens.mint("tenant")
        async with caller.database.shared() as connection:
            await registry.lock(connection, caller.home.id)  # so that two at once are counted
            live = await connection.fetchval(
                """
                SELECT count(*) FROM shared.access_tokens
                WHERE tenant_id = $1 AND kind = 'tenant' AND revoked_at IS NULL
                  AND (expires_at IS NULL OR expires_at > now())
                """,
                caller.home.id,
            )
            if live >= settings.key_limit:
                raise Problem("key-limit")
            await tokens.store(
                connection,
                key,
                name=data.name,
                tenant_id=caller.home.id,
                scopes=scopes,
                expires_at=expires_at,
            )
            await journal.note(request, connection, "key.create", key_id=key.id, scopes=scopes)
        return KeyMade(key.id, data.name, list(scopes), expires_at, key.text)

    @delete("/{key_id:str}", opt=tenant("keys:write"), summary="Revoke an API key")
    async def revoke(self, request: TenantRequest, key_id: KeyId) -> None:
        """Revoke a key at once, the request's own included."""
        caller = request.auth
        async with caller.database.shared() as connection:
            if await tokens.revoke(connection, key_id, kind="tenant", tenant_id=caller.home.id) is None:
                raise Problem("not-found")
            await journal.note(request, connection, "key.revoke", key_id=key_id)
        directory: Directory = request.app.state.directory
        directory.forget()
