"""``/users``: a tenant's users. ``shared_users`` follows them, since an e-mail is one person in one tenant."""

from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import asyncpg
import msgspec
from litestar import Controller, delete, get, patch, post
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType
from sqlalchemy import Boolean, Integer, String, bindparam, func, insert, select, update
from sqlalchemy import delete as delete_from

from api import journal, lists, passwords
from api.access import Caller, TenantRequest, tenant
from api.directory import Directory
from api.fields import Email, Id, Password, RowId, ShortName
from api.lists import Cursor, Limit, Page
from api.problems import Problem, invalid
from api.resources import roles
from db import permissions, tokens
from db.connection import Connection
from db.models.tenant import Role, User
from db.registry import Tenant
from db.statements import Statement
from db.tenancy import TenantTransaction


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
    """A new user. Without a role it is USER; without a password nobody can log in as this user."""

    email: Email
    password: Password | None = None
    first_name: ShortName | None = None
    last_name: ShortName | None = None
    user_role_id: RowId | None = None
    is_active: bool = True


class UserPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What changes of a user; what is left out stays. A new password ends all of the user's log-ins."""

    email: Email | UnsetType = UNSET
    password: Password | UnsetType = UNSET
    first_name: ShortName | None | UnsetType = UNSET
    last_name: ShortName | None | UnsetType = UNSET
    user_role_id: RowId | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET


_TABLE: Final = User.__table__
_STORED: Final = (
    "email",
    "first_name",
    "last_name",
    "user_role_id",
    "is_active",
    "password_hash",
)
_COLUMNS: Final = [getattr(User, name) for name in UserOut.__struct_fields__]
_ID: Final = bindparam("id", type_=Integer)
_LIST: Final = Statement(
    select(*_COLUMNS)
    .where(User.id > bindparam("after", type_=Integer))
    .order_by(User.id)
    .limit(bindparam("limit", type_=Integer))
)
_ONE: Final = Statement(select(*_COLUMNS).where(User.id == _ID))
_ADD: Final = Statement(
    insert(User)
    .values({name: bindparam(name, type_=_TABLE.c[name].type) for name in _STORED})
    .returning(*_COLUMNS)
)
_REMOVE: Final = Statement(delete_from(User).where(User.id == _ID))
_LOCKED: Final = Statement(
    select(User.email, User.user_role_id, User.is_active)
    .where(User.id == _ID)
    .with_for_update(key_share=True)
)
_ROLE_NAMED: Final = select(Role.id).where(Role.role_name == bindparam("name", type_=String))
_ROLE: Final = Statement(_ROLE_NAMED)
_LOCKED_ROLE: Final = Statement(_ROLE_NAMED.with_for_update(key_share=True))
_OTHERS: Final = Statement(
    select(func.count()).where(
        User.user_role_id == bindparam("role_id", type_=Integer),
        User.is_active == bindparam("is_active", type_=Boolean),
        User.id != _ID,
    )
)


@lru_cache(maxsize=128)
def _change(names: tuple[str, ...]) -> Statement:
    values = {name: bindparam(f"new_{name}", type_=_TABLE.c[name].type) for name in names}
    return Statement(
        update(User)
        .where(User.id == bindparam("old_id", type_=Integer))
        .values({**values, "updated_at": func.now()})
        .returning(*_COLUMNS)
    )


class UserController(Controller):
    """Users of the tenant that the request is for."""

    path = "/users"
    tags = ("Users",)

    @get(opt=tenant("users:read"), summary="List users")
    async def index(
        self, request: TenantRequest, limit: Limit = lists.DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Page[UserOut]:
        after = lists.after(cursor, "users")
        async with request.auth.transaction() as transaction:
            rows = await transaction.fetch(_LIST, after=after, limit=limit + 1)
        return lists.page([UserOut(*row.values()) for row in rows], limit, "users")

    @post(opt={**tenant("users:write"), "problems": ("email-taken",)}, summary="Create a user")
    async def create(self, request: TenantRequest, data: JSONBody[UserIn]) -> UserOut:
        caller = request.auth
        email = data.email.casefold()
        values = {
            **{name: getattr(data, name) for name in _STORED if name in UserIn.__struct_fields__},
            "email": email,
            "password_hash": await passwords.hashed(data.password) if data.password is not None else None,
        }
        try:
            async with caller.transaction() as transaction:
                values["user_role_id"] = await _givable(transaction, caller, data.user_role_id)
                made = _found(await transaction.fetchrow(_ADD, **values))
                login = await transaction.as_login()
                await login.execute(
                    "INSERT INTO shared.shared_users (email, tenant_id, is_active) VALUES ($1, $2, $3)",
                    email,
                    caller.home.id,
                    data.is_active,
                )
                await journal.note(request, login, "user.create", user_id=made.id, role_id=made.user_role_id)
        except asyncpg.UniqueViolationError:
            raise Problem("email-taken") from None
        except asyncpg.ForeignKeyViolationError:  # the role was deleted a moment ago
            raise invalid("user_role_id", "no role of this tenant") from None
        return made

    @get("/{user_id:int}", opt=tenant("users:read"), summary="Read a user")
    async def read(self, request: TenantRequest, user_id: Id) -> UserOut:
        async with request.auth.transaction() as transaction:
            return await found(transaction, user_id)

    @patch(
        "/{user_id:int}",
        opt={**tenant("users:write"), "problems": ("email-taken", "last-administrator")},
        summary="Change a user",
    )
    async def change(self, request: TenantRequest, user_id: Id, data: JSONBody[UserPatch]) -> UserOut:
        caller = request.auth
        changes: dict[str, Any] = {
            name: value for name, value in msgspec.structs.asdict(data).items() if value is not UNSET
        }
        fields = sorted(changes)
        if "email" in changes:
            changes["email"] = changes["email"].casefold()
        if "password" in changes:
            changes["password_hash"] = await passwords.hashed(changes.pop("password"))
        ends = "password_hash" in changes or changes.get("is_active") is False
        try:
            async with caller.transaction() as transaction:
                before = await _locked(transaction, caller, user_id)
                if "user_role_id" in changes:
                    await _givable(transaction, caller, changes["user_role_id"])
                await _keep_administrator(transaction, user_id, before, {**before, **changes})
                values = {f"new_{name}": value for name, value in changes.items()}
                changed = _found(
                    await transaction.fetchrow(_change(tuple(changes)), old_id=user_id, **values)
                )
                login = await transaction.as_login()
                await _follow(login, caller.home, before["email"], changed)
                if ends:
                    await tokens.revoke_user(login, caller.home.id, user_id)
                await journal.note(request, login, "user.change", user_id=user_id, fields=fields)
        except asyncpg.UniqueViolationError:
            raise Problem("email-taken") from None
        except asyncpg.ForeignKeyViolationError:  # the role was deleted a moment ago
            raise invalid("user_role_id", "no role of this tenant") from None
        if ends:
            _forget(request)
        return changed

    @delete(
        "/{user_id:int}",
        opt={**tenant("users:write"), "problems": ("last-administrator",)},
        summary="Delete a user",
    )
    async def remove(self, request: TenantRequest, user_id: Id) -> None:
        caller = request.auth
        async with caller.transaction() as transaction:
            before = await _locked(transaction, caller, user_id)
            await _keep_administrator(transaction, user_id, before, None)
            await transaction.fetch(_REMOVE, id=user_id)
            login = await transaction.as_login()
            await login.execute(
                "DELETE FROM shared.shared_users WHERE email = $1 AND tenant_id = $2",
                before["email"],
                caller.home.id,
            )
            await tokens.revoke_user(login, caller.home.id, user_id)
            await journal.note(request, login, "user.delete", user_id=user_id)
        _forget(request)


async def found(transaction: TenantTransaction, user_id: int) -> UserOut:
    """Return a user.

    Raises:
        Problem: there is no such user.
    """
    return _found(await transaction.fetchrow(_ONE, id=user_id))


def _found(row: asyncpg.Record | None) -> UserOut:
    if row is None:
        raise Problem("not-found")
    return UserOut(*row.values())


async def _givable(transaction: TenantTransaction, caller: Caller, role_id: int | None) -> int:
    """Return the id of a role that the caller may give to a user; of USER, where none is named.

    Raises:
        Problem: there is no such role, or it permits what the caller's token does not.
    """
    if role_id is None:
        role_id = await transaction.fetchval(_ROLE, name=permissions.SEEDED_ROLES[-1])
    role = await roles.found(transaction, role_id) if role_id is not None else None
    if role is None:
        raise invalid("user_role_id", "no role of this tenant")
    caller.check_may_give(role.permissions)
    return role.id


async def _locked(transaction: TenantTransaction, caller: Caller, user_id: int) -> asyncpg.Record:
    """Return a user whom the caller may change, the row locked; log-ins wait for it meanwhile.

    Raises:
        Problem: there is no such user, or it is one who may do what the caller may not: whoever could set
            the password could become that user.
    """
    # The administrators' row before any user's, always, so that nobody waits in a circle.
    await transaction.fetchval(_LOCKED_ROLE, name=permissions.ADMINISTRATOR)
    before = await transaction.fetchrow(_LOCKED, id=user_id)
    if before is None:
        raise Problem("not-found")
    role = await roles.found(transaction, before["user_role_id"])
    caller.check_may_give(role.permissions if role else ())
    return before


async def _keep_administrator(
    transaction: TenantTransaction, user_id: int, before: Any, after: dict[str, Any] | None
) -> None:
    """Check that a tenant which has an active ADMIN_MASTER keeps one.

    Whoever comes here holds the lock on that role's row, so two cannot go at once.

    Raises:
        Problem: this was the last one.
    """
    role_id = await transaction.fetchval(_ROLE, name=permissions.ADMINISTRATOR)
    was = before["is_active"] and before["user_role_id"] == role_id
    stays = after is not None and after["is_active"] and after["user_role_id"] == role_id
    if (
        was
        and not stays
        and not await transaction.fetchval(_OTHERS, role_id=role_id, is_active=True, id=user_id)
    ):
        raise Problem("last-administrator")


async def _follow(connection: Connection, home: Tenant, email_before: str, user: UserOut) -> None:
    """Bring ``shared_users`` in line with a changed user."""
    await connection.execute(
        """
        UPDATE shared.shared_users SET email = $3, is_active = $4, updated_at = now()
        WHERE email = $1 AND tenant_id = $2 AND (email, is_active) IS DISTINCT FROM ($3, $4)
        """,
        email_before,
        home.id,
        user.email,
        user.is_active,
    )


def _forget(request: TenantRequest) -> None:
    directory: Directory = request.app.state.directory
    directory.forget()
