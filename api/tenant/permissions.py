"""``/permissions``: the permissions that a tenant's roles can have.

The API enforces the permissions that migrations seed, so those cannot be renamed or deleted. Tenants can add
others for their own use.
"""

from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import Controller, delete, get, patch, post
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType

from api.gate.caller import ApiRequest
from api.gate.rules import tenant
from api.web import lists
from api.web.fields import Description, Id, ShortName
from api.web.lists import Cursor, Limit, Page
from api.web.resource import Resource, act, changes
from db.errors import ProblemError
from db.models.access import Permission
from db.names import Line
from db.tenants import permissions

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
    """The fields of a permission to change; fields that are left out stay as they are."""

    name: ShortName | UnsetType = UNSET
    title: Line | UnsetType = UNSET
    description: Description | None | UnsetType = UNSET
    account_id: AccountId | None | UnsetType = UNSET


PERMISSIONS: Final = Resource(Permission, PermissionOut, "permission")


class PermissionController(Controller):
    """The permissions of the caller's tenant."""

    path = "/permissions"
    tags = ("Permissions",)

    @get(opt=tenant("permissions:read"), summary="List permissions")
    async def index(
        self, request: ApiRequest, limit: Limit = lists.DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Page[PermissionOut]:
        return await PERMISSIONS.page(request, limit=limit, cursor=cursor)

    @post(opt={**tenant("permissions:write"), "problems": ("conflict",)}, summary="Create a permission")
    async def create(self, request: ApiRequest, data: JSONBody[PermissionIn]) -> PermissionOut:
        _check_free(data.name)
        return await PERMISSIONS.create(request, msgspec.structs.asdict(data))

    @get("/{permission_id:int}", opt=tenant("permissions:read"), summary="Read a permission")
    async def read(self, request: ApiRequest, permission_id: Id) -> PermissionOut:
        return await PERMISSIONS.read(request, permission_id)

    @patch(
        "/{permission_id:int}",
        opt={**tenant("permissions:write"), "problems": ("conflict",)},
        summary="Change a permission",
    )
    async def change(
        self, request: ApiRequest, permission_id: Id, data: JSONBody[PermissionPatch]
    ) -> PermissionOut:
        values = changes(data)
        detail = {"permission_id": permission_id, "fields": sorted(values)}
        async with act(request, "permission.change", **detail) as done:
            before = await PERMISSIONS.rows.require(done.transaction, permission_id)
            if values.get("name", before.name) != before.name:
                _check_free(before.name)
                _check_free(values["name"])
            return await PERMISSIONS.rows.update(done.transaction, permission_id, values)

    @delete(
        "/{permission_id:int}",
        opt={**tenant("permissions:write"), "problems": ("conflict",)},
        summary="Delete a permission, and take it from all roles",
    )
    async def remove(self, request: ApiRequest, permission_id: Id) -> None:
        async with act(request, "permission.delete", permission_id=permission_id) as done:
            before = await PERMISSIONS.rows.require(done.transaction, permission_id)
            _check_free(before.name)
            await PERMISSIONS.rows.delete(done.transaction, permission_id)
            done.detail["name"] = before.name


def _check_free(name: str) -> None:
    """Check that a name is not one of the permissions that the API enforces.

    Raises:
        ProblemError: it is one of them.
    """
    if name in permissions.ALL:
        raise ProblemError("conflict")
