"""``/roles``: a tenant's roles, and what they permit."""

from functools import lru_cache
from typing import Annotated, Any, Final

import asyncpg
import msgspec
from litestar import Controller, delete, get, patch, post, put
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Integer, bindparam, insert, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.dialects import postgresql

from api import journal, lists
from api.access import TenantRequest, tenant
from api.fields import Id, ShortName
from api.lists import Cursor, Limit, Page
from api.problems import Problem
from api.resources import permissions as permission_resource
from db import permissions
from db.models.tenant import Permission, Role, RolePermission
from db.statements import Statement
from db.tenancy import TenantTransaction

Description = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]


class RoleOut(msgspec.Struct, frozen=True):
    """A role; ``permissions`` are names."""

    id: int
    role_name: str
    role_description: str | None
    permissions: list[str]


class RoleIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new role, which permits nothing yet."""

    role_name: ShortName
    role_description: Description | None = None


class RolePatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What changes of a role; what is left out stays."""

    role_name: ShortName | UnsetType = UNSET
    role_description: Description | None | UnsetType = UNSET


_TABLE: Final = Role.__table__
_COLUMNS: Final = (Role.id, Role.role_name, Role.role_description)
_LIST: Final = Statement(
    select(*_COLUMNS)
    .where(Role.id > bindparam("after", type_=Integer))
    .order_by(Role.id)
    .limit(bindparam("limit", type_=Integer))
)
_ONE: Final = Statement(select(*_COLUMNS).where(Role.id == bindparam("id", type_=Integer)))
_PERMISSIONS: Final = Statement(
    select(RolePermission.role_id, Permission.name)
    .join(Permission, Permission.id == RolePermission.permission_id)
    .where(
        RolePermission.role_id.between(bindparam("first", type_=Integer), bindparam("last", type_=Integer))
    )
    .order_by(Permission.name)
)
_ADD: Final = Statement(
    insert(Role)
    .values({name: bindparam(name, type_=_TABLE.c[name].type) for name in RoleIn.__struct_fields__})
    .returning(Role.id)
)
_REMOVE: Final = Statement(delete_from(Role).where(Role.id == bindparam("id", type_=Integer)))
_LINK: Final[dict[str, Any]] = {name: bindparam(name, type_=Integer) for name in ("role_id", "permission_id")}
_GRANT: Final = Statement(postgresql.insert(RolePermission).values(_LINK).on_conflict_do_nothing())
_REVOKE: Final = Statement(
    delete_from(RolePermission)
    .where(RolePermission.role_id == _LINK["role_id"], RolePermission.permission_id == _LINK["permission_id"])
    .returning(RolePermission.role_id)
)


@lru_cache(maxsize=16)
def _change(names: tuple[str, ...]) -> Statement:
    values = {name: bindparam(f"new_{name}", type_=_TABLE.c[name].type) for name in names}
    return Statement(update(Role).where(Role.id == bindparam("old_id", type_=Integer)).values(values))


class RoleController(Controller):
    """Roles of the tenant that the request is for."""

    path = "/roles"
    tags = ("Roles",)

    @get(opt=tenant("roles:read"), summary="List roles")
    async def index(
        self, request: TenantRequest, limit: Limit = lists.DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Page[RoleOut]:
        after = lists.after(cursor, "roles")
        async with request.auth.transaction() as transaction:
            rows = await transaction.fetch(_LIST, after=after, limit=limit + 1)
            permitted: dict[int, list[str]] = {row["id"]: [] for row in rows}
            if rows:
                span = {"first": rows[0]["id"], "last": rows[-1]["id"]}
                for row in await transaction.fetch(_PERMISSIONS, **span):
                    permitted[row["role_id"]].append(row["name"])
        return lists.page(
            [
                RoleOut(row["id"], row["role_name"], row["role_description"], permitted[row["id"]])
                for row in rows
            ],
            limit,
            "roles",
        )

    @post(opt={**tenant("roles:write"), "problems": ("conflict",)}, summary="Create a role")
    async def create(self, request: TenantRequest, data: JSONBody[RoleIn]) -> RoleOut:
        try:
            async with request.auth.transaction() as transaction:
                role_id = await transaction.fetchval(_ADD, **msgspec.structs.asdict(data))
                login = await transaction.as_login()
                await journal.note(request, login, "role.create", role_id=role_id)
        except asyncpg.UniqueViolationError:
            raise Problem("conflict") from None
        return RoleOut(role_id, data.role_name, data.role_description, [])

    @get("/{role_id:int}", opt=tenant("roles:read"), summary="Read a role")
    async def read(self, request: TenantRequest, role_id: Id) -> RoleOut:
        async with request.auth.transaction() as transaction:
            return await _existing(transaction, role_id)

    @patch(
        "/{role_id:int}", opt={**tenant("roles:write"), "problems": ("conflict",)}, summary="Change a role"
    )
    async def change(self, request: TenantRequest, role_id: Id, data: JSONBody[RolePatch]) -> RoleOut:
        changes = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not UNSET}
        try:
            async with request.auth.transaction() as transaction:
                before = await _existing(transaction, role_id)
                if changes.get("role_name", before.role_name) != before.role_name:
                    _check_own(before)
                if changes:
                    values = {f"new_{name}": value for name, value in changes.items()}
                    await transaction.fetch(_change(tuple(changes)), old_id=role_id, **values)
                changed = await _existing(transaction, role_id)
                login = await transaction.as_login()
                await journal.note(request, login, "role.change", role_id=role_id, fields=sorted(changes))
        except asyncpg.UniqueViolationError:
            raise Problem("conflict") from None
        return changed

    @delete(
        "/{role_id:int}",
        opt={**tenant("roles:write"), "problems": ("conflict",)},
        summary="Delete a role that nobody has",
    )
    async def remove(self, request: TenantRequest, role_id: Id) -> None:
        try:
            async with request.auth.transaction() as transaction:
                before = await _existing(transaction, role_id)
                _check_own(before)
                await transaction.fetch(_REMOVE, id=role_id)
                login = await transaction.as_login()
                await journal.note(request, login, "role.delete", role_id=role_id, name=before.role_name)
        except asyncpg.ForeignKeyViolationError:
            raise Problem("conflict") from None  # somebody has it

    @put(
        "/{role_id:int}/permissions/{permission_id:int}",
        opt=tenant("roles:write"),
        status_code=204,
        summary="Let a role permit something",
    )
    async def grant(self, request: TenantRequest, role_id: Id, permission_id: Id) -> None:
        try:
            async with request.auth.transaction() as transaction:
                role = await _existing(transaction, role_id)
                permission = await permission_resource.found(transaction, permission_id)
                request.auth.check_may_give([permission.name])
                await transaction.fetch(_GRANT, role_id=role_id, permission_id=permission_id)
                login = await transaction.as_login()
                await journal.note(request, login, "role.grant", role_id=role.id, permission=permission.name)
        except asyncpg.ForeignKeyViolationError:
            raise Problem("not-found") from None  # deleted meanwhile

    @delete(
        "/{role_id:int}/permissions/{permission_id:int}",
        opt={**tenant("roles:write"), "problems": ("conflict",)},
        summary="Let a role no longer permit something",
    )
    async def revoke(self, request: TenantRequest, role_id: Id, permission_id: Id) -> None:
        async with request.auth.transaction() as transaction:
            role = await _existing(transaction, role_id)
            permission = await permission_resource.found(transaction, permission_id)
            if role.role_name == permissions.ADMINISTRATOR and permission.name in permissions.ALL:
                raise Problem("conflict")  # whoever has it may do everything, or nobody could mend the rest
            if await transaction.fetchval(_REVOKE, role_id=role_id, permission_id=permission_id) is None:
                raise Problem("not-found")
            login = await transaction.as_login()
            await journal.note(request, login, "role.revoke", role_id=role.id, permission=permission.name)


async def found(transaction: TenantTransaction, role_id: int) -> RoleOut | None:
    """Return a role and what it permits; None where there is no such role."""
    row = await transaction.fetchrow(_ONE, id=role_id)
    if row is None:
        return None
    permitted = await transaction.fetch(_PERMISSIONS, first=role_id, last=role_id)
    names = [link["name"] for link in permitted]
    return RoleOut(row["id"], row["role_name"], row["role_description"], names)


async def _existing(transaction: TenantTransaction, role_id: int) -> RoleOut:
    role = await found(transaction, role_id)
    if role is None:
        raise Problem("not-found")
    return role


def _check_own(role: RoleOut) -> None:
    """Refuse to rename or delete a role that every tenant has."""
    if role.role_name in permissions.SEEDED_ROLES:
        raise Problem("conflict")
