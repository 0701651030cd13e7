"""``/permissions``: what a tenant's roles can permit.

The API enforces those that migrations seed, so their names stay. Others are for the tenant's own use.
"""

from functools import lru_cache
from typing import Annotated, Final
from uuid import UUID

import asyncpg
import msgspec
from litestar import Controller, delete, get, patch, post
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Integer, bindparam, insert, select, update
from sqlalchemy import delete as delete_from

from api import journal, lists
from api.access import TenantRequest, tenant
from api.fields import Id, Line, ShortName
from api.lists import Cursor, Limit, Page
from api.problems import Problem
from db import permissions
from db.models.tenant import Permission
from db.statements import Statement
from db.tenancy import TenantTransaction

Description = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]
AccountId = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]


class PermissionOut(msgspec.Struct, frozen=True):
    """A permission."""

    id: int
    uuid: UUID
    account_id: int | None
    name: str
    title: str
    description: str | None


class PermissionIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new permission, for the tenant's own use."""

    name: ShortName
    title: Line
    description: Description | None = None
    account_id: AccountId | None = None


class PermissionPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What changes of a permission; what is left out stays."""

    name: ShortName | UnsetType = UNSET
    title: Line | UnsetType = UNSET
    description: Description | None | UnsetType = UNSET
    account_id: AccountId | None | UnsetType = UNSET


_TABLE: Final = Permission.__table__
_COLUMNS: Final = [getattr(Permission, name) for name in PermissionOut.__struct_fields__]
_LIST: Final = Statement(
    select(*_COLUMNS)
    .where(Permission.id > bindparam("after", type_=Integer))
    .order_by(Permission.id)
    .limit(bindparam("limit", type_=Integer))
)
_ONE: Final = Statement(select(*_COLUMNS).where(Permission.id == bindparam("id", type_=Integer)))
_ADD: Final = Statement(
    insert(Permission)
    .values({name: bindparam(name, type_=_TABLE.c[name].type) for name in PermissionIn.__struct_fields__})
    .returning(*_COLUMNS)
)
_REMOVE: Final = Statement(delete_from(Permission).where(Permission.id == bindparam("id", type_=Integer)))


@lru_cache(maxsize=64)
def _change(names: tuple[str, ...]) -> Statement:
    values = {name: bindparam(f"new_{name}", type_=_TABLE.c[name].type) for name in names}
    return Statement(
        update(Permission).where(Permission.id == bindparam("old_id", type_=Integer)).values(values)
    )


class PermissionController(Controller):
    """Permissions of the tenant that the request is for."""

    path = "/permissions"
    tags = ("Permissions",)

    @get(opt=tenant("permissions:read"), summary="List permissions")
    async def index(
        self, request: TenantRequest, limit: Limit = lists.DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Page[PermissionOut]:
        after = lists.after(cursor, "permissions")
        async with request.auth.transaction() as transaction:
            rows = await transaction.fetch(_LIST, after=after, limit=limit + 1)
        return lists.page([PermissionOut(*row.values()) for row in rows], limit, "permissions")

    @post(opt={**tenant("permissions:write"), "problems": ("conflict",)}, summary="Create a permission")
    async def create(self, request: TenantRequest, data: JSONBody[PermissionIn]) -> PermissionOut:
        _check_free(data.name)
        try:
            async with request.auth.transaction() as transaction:
                row = await transaction.fetchrow(_ADD, **msgspec.structs.asdict(data))
                made = PermissionOut(*row.values())  # type: ignore[union-attr]
                login = await transaction.as_login()
                await journal.note(request, login, "permission.create", permission_id=made.id)
        except asyncpg.UniqueViolationError:
            raise Problem("conflict") from None
        return made

    @get("/{permission_id:int}", opt=tenant("permissions:read"), summary="Read a permission")
    async def read(self, request: TenantRequest, permission_id: Id) -> PermissionOut:
        async with request.auth.transaction() as transaction:
            return await found(transaction, permission_id)

    @patch(
        "/{permission_id:int}",
        opt={**tenant("permissions:write"), "problems": ("conflict",)},
        summary="Change a permission",
    )
    async def change(
        self, request: TenantRequest, permission_id: Id, data: JSONBody[PermissionPatch]
    ) -> PermissionOut:
        changes = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not UNSET}
        try:
            async with request.auth.transaction() as transaction:
                before = await found(transaction, permission_id)
                if changes.get("name", before.name) != before.name:
                    _check_free(before.name)
                    _check_free(changes["name"])
                if changes:
                    values = {f"new_{name}": value for name, value in changes.items()}
                    await transaction.fetch(_change(tuple(changes)), old_id=permission_id, **values)
                changed = await found(transaction, permission_id)
                login = await transaction.as_login()
                await journal.note(
                    request, login, "permission.change", permission_id=permission_id, fields=sorted(changes)
                )
        except asyncpg.UniqueViolationError:
            raise Problem("conflict") from None
        return changed

    @delete(
        "/{permission_id:int}",
        opt={**tenant("permissions:write"), "problems": ("conflict",)},
        summary="Delete a permission, and take it from all roles",
    )
    async def remove(self, request: TenantRequest, permission_id: Id) -> None:
        async with request.auth.transaction() as transaction:
            before = await found(transaction, permission_id)
            _check_free(before.name)
            await transaction.fetch(_REMOVE, id=permission_id)
            login = await transaction.as_login()
            await journal.note(
                request, login, "permission.delete", permission_id=permission_id, name=before.name
            )


async def found(transaction: TenantTransaction, permission_id: int) -> PermissionOut:
    """Return a permission.

    Raises:
        Problem: there is no such permission.
    """
    row = await transaction.fetchrow(_ONE, id=permission_id)
    if row is None:
        raise Problem("not-found")
    return PermissionOut(*row.values())


def _check_free(name: str) -> None:
    """Refuse to touch a name that the API enforces."""
    if name in permissions.ALL:
        raise Problem("conflict")
