"""``/users``: a tenant's users, and the role that each is given.

Each change is repeated in ``shared.shared_users``, since an e-mail belongs to one user of one tenant.
"""

from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec
from litestar import Controller, delete, get, patch, post
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType
from sqlalchemy import Boolean, Integer, String, bindparam, func, select

from api.gate.caller import ApiRequest, Caller
from api.gate.directory import Directory
from api.gate.rules import tenant
from api.tenant import passwords, roles
from api.web import lists
from api.web.fields import Email, Id, Password, RowId, ShortName
from api.web.lists import Cursor, Limit, Page
from api.web.resource import Resource, act, changes
from db import names
from db.errors import InvalidValueError, ProblemError
from db.models.access import ADMINISTRATOR, SEEDED_ROLES, Role, User
from db.session.statements import Statement
from db.session.transaction import TenantTransaction
from db.tenants import people, tokens


class UserOut(msgspec.Struct, frozen=True):
    """A user. The password is never shown."""

    id: int
    email: str
    first_name: str | None
    last_name: str | None
    user_role_id: int
    is_active: bool
    created_at: datetime
    updated_at: datetime


class UserIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new user. The default role is USER. Without a password nobody can log in as this user."""

    email: Email
    password: Password | None = None
    first_name: ShortName | None = None
    last_name: ShortName | None = None
    user_role_id: RowId | None = None
    is_active: bool = True


class UserPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fields of a user to change; fields that are left out stay as they are.

    A new password, or ``is_active`` false, ends all of the user's log-ins.
    """

    email: Email | UnsetType = UNSET
    password: Password | UnsetType = UNSET
    first_name: ShortName | None | UnsetType = UNSET
    last_name: ShortName | None | UnsetType = UNSET
    user_role_id: RowId | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET


USERS: Final = Resource(User, UserOut, "user", taken="email-taken")

_ID: Final = bindparam("id", type_=Integer)
_LOCK: Final = Statement(
    select(User.email, User.user_role_id, User.is_active, User.password_hash)
    .where(User.id == _ID)
    .with_for_update(key_share=True)
)
_ROLE_NAMED: Final = select(Role.id).where(Role.role_name == bindparam("name", type_=String))
_ROLE: Final = Statement(_ROLE_NAMED)
_LOCK_ROLE: Final = Statement(_ROLE_NAMED.with_for_update(key_share=True))
_OTHERS: Final = Statement(
    select(func.count().label("active"), func.count(User.password_hash).label("able")).where(
        User.user_role_id == bindparam("role_id", type_=Integer),
        User.is_active == bindparam("is_active", type_=Boolean),
        User.id != _ID,
    )
)


class UserController(Controller):
    """The users of the caller's tenant."""

    path = "/users"
    tags = ("Users",)

    @get(opt=tenant("users:read"), summary="List users")
    async def index(
        self, request: ApiRequest, limit: Limit = lists.DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Page[UserOut]:
        return await USERS.page(request, limit=limit, cursor=cursor)

    @post(opt={**tenant("users:write"), "problems": ("email-taken",)}, summary="Create a user")
    async def create(self, request: ApiRequest, data: JSONBody[UserIn]) -> UserOut:
        caller = request.auth
        values = await _stored(msgspec.structs.asdict(data))
        async with act(request, "user.create") as done:
            values["user_role_id"] = await _role_to_give(done.transaction, caller, data.user_role_id)
            made = await USERS.rows.insert(done.transaction, values)
            await people.add(await done.as_login(), caller.home.id, made.email, is_active=made.is_active)
            done.detail |= {"user_id": made.id, "role_id": made.user_role_id}
        return made

    @get("/{user_id:int}", opt=tenant("users:read"), summary="Read a user")
    async def read(self, request: ApiRequest, user_id: Id) -> UserOut:
        return await USERS.read(request, user_id)

    @patch(
        "/{user_id:int}",
        opt={**tenant("users:write"), "problems": ("email-taken", "last-administrator")},
        summary="Change a user",
    )
    async def change(self, request: ApiRequest, user_id: Id, data: JSONBody[UserPatch]) -> UserOut:
        caller = request.auth
        sent = changes(data)
        values = await _stored(sent)
        ends = "password_hash" in values or values.get("is_active") is False
        async with act(request, "user.change", user_id=user_id, fields=sorted(sent)) as done:
            before = await _lock(done.transaction, caller, user_id)
            if "user_role_id" in values:
                await _role_to_give(done.transaction, caller, values["user_role_id"])
            await _keep_administrator(done.transaction, user_id, before, {**before, **values})
            changed = await USERS.rows.update(done.transaction, user_id, values)
            login = await done.as_login()
            await people.change(
                login, caller.home.id, before["email"], email=changed.email, is_active=changed.is_active
            )
            if ends:
                await tokens.revoke_user(login, caller.home.id, user_id)
        if ends:
            _forget(request)
        return changed

    @delete(
        "/{user_id:int}",
        opt={**tenant("users:write"), "problems": ("conflict", "last-administrator")},
        summary="Delete a user",
    )
    async def remove(self, request: ApiRequest, user_id: Id) -> None:
        caller = request.auth
        async with act(request, "user.delete", user_id=user_id) as done:
            before = await _lock(done.transaction, caller, user_id)
            await _keep_administrator(done.transaction, user_id, before, None)
            await USERS.rows.delete(done.transaction, user_id)
            login = await done.as_login()
            await people.remove(login, caller.home.id, before["email"])
            await tokens.revoke_user(login, caller.home.id, user_id)
        _forget(request)


async def _stored(values: dict[str, Any]) -> dict[str, Any]:
    """Return a user's values as they are stored: with the e-mail as it is compared, and a hash for the password."""
    stored = {name: value for name, value in values.items() if name != "password"}
    if "email" in stored:
        stored["email"] = names.mailbox(stored["email"])
    if "password" in values:
        password = values["password"]
        stored["password_hash"] = await passwords.hashed(password) if password is not None else None
    return stored


async def _role_to_give(transaction: TenantTransaction, caller: Caller, role_id: int | None) -> int:
    """Return the id of a role that the caller may give to a user.

    Args:
        transaction: the caller's tenant transaction.
        caller: who gives the role.
        role_id: the role; USER if it is None.

    Raises:
        InvalidValueError: the tenant has no such role.
        ProblemError: the role has a permission that the caller may not give.
    """
    if role_id is None:
        role_id = await transaction.fetchval(_ROLE, name=SEEDED_ROLES[-1])
    role = await roles.get_with_permissions(transaction, role_id) if role_id is not None else None
    if role is None:
        raise InvalidValueError("user_role_id", "none of this tenant's roles")
    caller.check_may_give(role.permissions)
    return role.id


async def _lock(transaction: TenantTransaction, caller: Caller, user_id: int) -> asyncpg.Record:
    """Lock and return the row of a user whom the caller may change. Log-ins wait for the lock.

    Raises:
        ProblemError: no user has this id, or the user has a permission that the caller may not give: a
            caller who sets the password could log in as that user.
    """
    # Always lock the administrator role's row before a user's row, so that there are no deadlocks.
    await transaction.fetchval(_LOCK_ROLE, name=ADMINISTRATOR)
    before = await transaction.fetchrow(_LOCK, id=user_id)
    if before is None:
        raise ProblemError("not-found")
    role = await roles.get_with_permissions(transaction, before["user_role_id"])
    caller.check_may_give(role.permissions if role else ())
    return before


async def _keep_administrator(
    transaction: TenantTransaction, user_id: int, before: Any, after: dict[str, Any] | None
) -> None:
    """Check that a change does not take the tenant's last active ADMIN_MASTER away, nor the last who can log in.

    The caller holds the lock on that role's row, so that two administrators cannot be removed at once.

    Args:
        transaction: the caller's tenant transaction.
        user_id: the user who is changed.
        before: the user's values before the change.
        after: the user's values after the change, or None if the user is deleted.

    Raises:
        ProblemError: the user is the last active ADMIN_MASTER, or the last of them with a password.
    """
    role_id = await transaction.fetchval(_ROLE, name=ADMINISTRATOR)
    was = before["is_active"] and before["user_role_id"] == role_id
    stays = after is not None and after["is_active"] and after["user_role_id"] == role_id
    if not was or stays:
        return
    others = await transaction.fetchrow(_OTHERS, role_id=role_id, is_active=True, id=user_id)
    assert others is not None  # counts are one row
    if not others["active"] or (before["password_hash"] is not None and not others["able"]):
        raise ProblemError("last-administrator")


def _forget(request: ApiRequest) -> None:
    directory: Directory = request.app.state.directory
    directory.forget()
