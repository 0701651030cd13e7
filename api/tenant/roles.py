"""``/roles``: a tenant's roles and their permissions."""

from typing import Any, Final

import asyncpg
import msgspec
from litestar import Controller, delete, get, patch, post, put
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType
from sqlalchemy import Integer, bindparam, select
from sqlalchemy import delete as delete_from
from sqlalchemy.dialects import postgresql

from api.gate.caller import ApiRequest
from api.gate.rules import tenant
from api.tenant.permissions import PERMISSIONS
from api.web import lists
from api.web.fields import Description, Id, ShortName
from api.web.lists import Cursor, Limit, Page
from api.web.resource import Resource, act, changes
from db.errors import ProblemError
from db.models.access import ADMINISTRATOR, SEEDED_ROLES, Permission, Role, RolePermission
from db.session.statements import Statement
from db.session.transaction import TenantTransaction
from db.tenants import permissions


class RoleRow(msgspec.Struct, frozen=True):
    """A role's row, without its permissions."""

    id: int
    role_name: str
    role_description: str | None


class RoleOut(RoleRow, frozen=True):
    """A role with the names of its permissions."""

    permissions: list[str]


class RoleIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new role. It has no permissions yet."""

    role_name: ShortName
    role_description: Description | None = None


class RolePatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fields of a role to change; fields that are left out stay as they are."""

    role_name: ShortName | UnsetType = UNSET
    role_description: Description | None | UnsetType = UNSET


ROLES: Final = Resource(Role, RoleRow, "role")

_PERMITTED: Final = Statement(
    select(RolePermission.role_id, Permission.name)
    .join(Permission, Permission.id == RolePermission.permission_id)
    .where(
        RolePermission.role_id.between(bindparam("first", type_=Integer), bindparam("last", type_=Integer))
    )
    .order_by(Permission.name)
)
_LINK: Final[dict[str, Any]] = {name: bindparam(name, type_=Integer) for name in ("role_id", "permission_id")}
_ADD: Final = Statement(postgresql.insert(RolePermission).values(_LINK).on_conflict_do_nothing())
_REMOVE: Final = Statement(
    delete_from(RolePermission)
    .where(RolePermission.role_id == _LINK["role_id"], RolePermission.permission_id == _LINK["permission_id"])
    .returning(RolePermission.role_id)
)


class RoleController(Controller):
    """The roles of the caller's tenant."""

    path = "/roles"
    tags = ("Roles",)

    @get(opt=tenant("roles:read"), summary="List roles")
    async def index(
        self, request: ApiRequest, limit: Limit = lists.DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Page[RoleOut]:
        async with request.auth.transaction() as transaction:
            page = await ROLES.rows.list_(transaction, limit=limit, cursor=cursor)
            return Page(await _with_permissions(transaction, page.items), page.next_cursor)

    @post(opt={**tenant("roles:write"), "problems": ("conflict",)}, summary="Create a role")
    async def create(self, request: ApiRequest, data: JSONBody[RoleIn]) -> RoleOut:
        made = await ROLES.create(request, msgspec.structs.asdict(data))
        return RoleOut(**msgspec.structs.asdict(made), permissions=[])

    @get("/{role_id:int}", opt=tenant("roles:read"), summary="Read a role")
    async def read(self, request: ApiRequest, role_id: Id) -> RoleOut:
        async with request.auth.transaction() as transaction:
            return await require(transaction, role_id)

    @patch(
        "/{role_id:int}", opt={**tenant("roles:write"), "problems": ("conflict",)}, summary="Change a role"
    )
    async def change(self, request: ApiRequest, role_id: Id, data: JSONBody[RolePatch]) -> RoleOut:
        values = changes(data)
        async with act(request, "role.change", role_id=role_id, fields=sorted(values)) as done:
            before = await ROLES.rows.require(done.transaction, role_id)
            if values.get("role_name", before.role_name) != before.role_name:
                _check_own(before)
            await ROLES.rows.update(done.transaction, role_id, values)
            return await require(done.transaction, role_id)

    @delete(
        "/{role_id:int}",
        opt={**tenant("roles:write"), "problems": ("conflict",)},
        summary="Delete a role that nobody has",
    )
    async def remove(self, request: ApiRequest, role_id: Id) -> None:
        async with act(request, "role.delete", role_id=role_id) as done:
            before = await ROLES.rows.require(done.transaction, role_id)
            _check_own(before)
            await ROLES.rows.delete(done.transaction, role_id)
            done.detail["name"] = before.role_name

    @put(
        "/{role_id:int}/permissions/{permission_id:int}",
        opt=tenant("roles:write"),
        status_code=204,
        summary="Let a role permit something",
    )
    async def permit(self, request: ApiRequest, role_id: Id, permission_id: Id) -> None:
        try:
            async with act(request, "role.grant", role_id=role_id) as done:
                await ROLES.rows.require(done.transaction, role_id)
                permission = await PERMISSIONS.rows.require(done.transaction, permission_id)
                request.auth.check_may_give([permission.name])
                await done.transaction.fetch(_ADD, role_id=role_id, permission_id=permission_id)
                done.detail["permission"] = permission.name
        except asyncpg.ForeignKeyViolationError:
            raise ProblemError("not-found") from None  # the role or the permission was deleted meanwhile

    @delete(
        "/{role_id:int}/permissions/{permission_id:int}",
        opt={**tenant("roles:write"), "problems": ("conflict",)},
        summary="Let a role no longer permit something",
    )
    async def forbid(self, request: ApiRequest, role_id: Id, permission_id: Id) -> None:
        async with act(request, "role.revoke", role_id=role_id) as done:
            role = await ROLES.rows.require(done.transaction, role_id)
            permission = await PERMISSIONS.rows.require(done.transaction, permission_id)
            if role.role_name == ADMINISTRATOR and permission.name in permissions.ALL:
                raise ProblemError(
                    "conflict"
                )  # the administrator keeps every permission, or nobody could repair the other roles
            link = {"role_id": role_id, "permission_id": permission_id}
            if await done.transaction.fetchval(_REMOVE, **link) is None:
                raise ProblemError("not-found")
            done.detail["permission"] = permission.name


async def get_with_permissions(transaction: TenantTransaction, role_id: int) -> RoleOut | None:
    """Return a role with its permissions, or None if no role has this id."""
    role = await ROLES.rows.get(transaction, role_id)
    return (await _with_permissions(transaction, [role]))[0] if role else None


async def require(transaction: TenantTransaction, role_id: int) -> RoleOut:
    """Return a role with its permissions.

    Raises:
        ProblemError: no role has this id.
    """
    role = await get_with_permissions(transaction, role_id)
    if role is None:
        raise ProblemError("not-found")
    return role


async def _with_permissions(transaction: TenantTransaction, roles: Any) -> list[RoleOut]:
    """Return roles with their permissions. ``roles`` must be sorted by id."""
    permitted: dict[int, list[str]] = {role.id: [] for role in roles}
    if roles:
        for link in await transaction.fetch(_PERMITTED, first=roles[0].id, last=roles[-1].id):
            permitted.setdefault(link["role_id"], []).append(link["name"])
    return [RoleOut(**msgspec.structs.asdict(role), permissions=permitted[role.id]) for role in roles]


def _check_own(role: RoleRow) -> None:
    """Check that a role is the tenant's own and not one that every tenant has.

    Raises:
        ProblemError: every tenant has the role, so it can be neither renamed nor deleted.
    """
    if role.role_name in SEEDED_ROLES:
        raise ProblemError("conflict")
