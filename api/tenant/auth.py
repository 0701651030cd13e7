"""``/auth``: logs users in with e-mail and password, logs them out, and says who is logged in."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec
import structlog
from litestar import Controller, get, post
from litestar.params import JSONBody
from msgspec import Meta
from sqlalchemy import Boolean, Integer, String, bindparam, select

from api.gate.caller import ApiRequest, by
from api.gate.directory import Directory
from api.gate.limits import Limits
from api.gate.rules import public, user
from api.gate.serving import check_served
from api.tenant import passwords, roles
from api.tenant.users import USERS, UserOut
from db import audit, names
from db.errors import ProblemError
from db.models.access import User
from db.session.failures import NOT_AS_EXPECTED
from db.session.statements import Statement
from db.session.tenancy import Database
from db.settings import Settings
from db.tenants import people, registry, tokens
from db.tenants.registry import Tenant
from db.tenants.states import GONE

log = structlog.get_logger(__name__)


class LoginIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """LoginAccount. The e-mail belongs to exactly one tenant, so no tenant is named."""

    email: Annotated[str, Meta(min_length=1, max_length=256, pattern=names.NO_NUL)]
    password: Annotated[str, Meta(min_length=1, max_length=256)]


class LoginOut(msgspec.Struct, frozen=True):
    """A log-in. The token is shown only this once; ``tenant`` is the slug to send with it."""

    token: str
    tenant: str
    expires_at: datetime


class MeOut(msgspec.Struct, frozen=True):
    """The user who is logged in, the tenant's slug, and the current permissions of the user's role."""

    user: UserOut
    role: str
    permissions: list[str]
    tenant: str


class LoginAccount(msgspec.Struct, frozen=True):
    """What a log-in is checked against. ``user_id`` is None for a waiting administrator."""

    user_id: int | None
    password_hash: str | None
    is_active: bool


_EMAIL: Final = User.email == bindparam("email", type_=String)
_ACCOUNT: Final = Statement(select(User.id, User.password_hash, User.is_active).where(_EMAIL))
_STILL: Final = Statement(
    select(User.id)
    .where(
        User.id == bindparam("id", type_=Integer),
        _EMAIL,
        User.password_hash == bindparam("password_hash", type_=String),
        User.is_active == bindparam("is_active", type_=Boolean),
    )
    .with_for_update(read=True)
)


class AuthController(Controller):
    """Log in and out."""

    path = "/auth"
    tags = ("Log-in",)

    @post(
        "/login",
        opt={
            **public(),
            "problems": (
                "invalid-credentials",
                "tenant-suspended",
                "too-many-requests",
                "tenant-not-ready",
                "tenant-out-of-range",
            ),
        },
        status_code=200,
        summary="Log in",
    )
    async def login(self, request: ApiRequest, data: JSONBody[LoginIn]) -> LoginOut:
        """Log a user in. Problems of the tenant, such as a suspension, are told only if the password is right."""
        limits: Limits = request.app.state.limits
        email = names.mailbox(data.email)
        limits.address(request.scope)
        limits.account(email)
        database = request.auth.database
        tenant = await _tenant_of(database, email)
        account = await _account(database, tenant, email)
        right = await passwords.matches(data.password, account.password_hash if account else None)
        if tenant is None or account is None or not right or not account.is_active:
            await _refused(request, tenant, account)
            raise ProblemError("invalid-credentials")
        limits.logged_in(email)
        check_served(request.app.state.tenant_lineage, tenant)
        try:
            made = await _log_in(request, tenant, email, account)
        except NOT_AS_EXPECTED:
            raise ProblemError("tenant-not-ready") from None  # it has been migrated since
        if made is None:
            raise ProblemError("invalid-credentials")
        return made

    @post("/logout", opt=user(served=False), status_code=204, summary="Log out")
    async def logout(self, request: ApiRequest) -> None:
        """Revoke the token that the request was sent with, at once."""
        caller = request.auth
        async with caller.database.shared() as connection:
            await tokens.revoke(connection, caller.actor, kind="user", tenant_id=caller.home.id)
            await audit.record(
                connection, by(request), "auth.logout", tenant_id=caller.home.id, user_id=caller.user_id
            )
        directory: Directory = request.app.state.directory
        directory.forget()

    @get("/me", opt=user(), summary="See who is logged in")
    async def me(self, request: ApiRequest) -> MeOut:
        caller = request.auth
        assert caller.user_id is not None  # the route's rule is `user`
        async with caller.transaction() as transaction:
            found = await USERS.rows.require(transaction, caller.user_id)
            role = await roles.require(transaction, found.user_role_id)
        return MeOut(found, role.role_name, role.permissions, caller.home.slug)


async def _tenant_of(database: Database, email: str) -> Tenant | None:
    """Return the tenant that an e-mail belongs to, or None if there is none or it has been deleted."""
    async with database.shared() as connection:
        tenant_id = await people.get_tenant(connection, email)
        tenant = await registry.get(connection, tenant_id or registry.NOBODY)
    return None if tenant is None or tenant.status in GONE else tenant


async def _account(database: Database, tenant: Tenant | None, email: str) -> LoginAccount | None:
    """Return the account of a user, or of an administrator who waits for provisioning; None if unknown.

    An unknown e-mail is looked up like a waiting administrator, so that it takes as many round trips.
    """
    if tenant is not None and tenant.revision is not None:
        try:
            async with database.tenant(tenant.schema_name) as transaction:
                await transaction.begin()
                row = await transaction.fetchrow(_ACCOUNT, email=email)
        except NOT_AS_EXPECTED as error:  # perhaps at a revision that this release does not know
            log.error(
                "schema not as expected", exc_info=error, error=type(error).__name__, tenant=tenant.slug
            )
            return None
        return LoginAccount(*row.values()) if row else None
    async with database.shared() as connection:
        waiting = await people.get_waiting_hash(connection, tenant.id if tenant else registry.NOBODY, email)
    return LoginAccount(None, waiting, True) if waiting else None


async def _log_in(request: ApiRequest, tenant: Tenant, email: str, account: LoginAccount) -> LoginOut | None:
    """Make a log-in token and return it, or None if the account has changed since it was checked.

    A change is a new password or e-mail, or a deactivation. The user's row is locked until the token is
    stored, so that a change which ends all of the user's log-ins ends this one too.
    """
    settings: Settings = request.app.state.settings
    token = tokens.mint("user")
    expires_at = datetime.now(UTC) + timedelta(seconds=settings.login_ttl)
    async with request.auth.database.tenant(tenant.schema_name) as transaction:
        user_id = await transaction.fetchval(
            _STILL, id=account.user_id, email=email, password_hash=account.password_hash, is_active=True
        )
        if user_id is None:
            return None
        connection = await transaction.as_login()
        await tokens.store(
            connection, token, name="log-in", tenant_id=tenant.id, user_id=user_id, expires_at=expires_at
        )
        who = msgspec.structs.replace(by(request), actor=token.id)
        await audit.record(connection, who, "auth.login", tenant_id=tenant.id, user_id=user_id)
    return LoginOut(token.text, tenant.slug, expires_at)


async def _refused(request: ApiRequest, tenant: Tenant | None, account: LoginAccount | None) -> None:
    """Record a failed log-in in the audit log, without the credentials that were sent."""
    async with request.auth.database.shared() as connection:
        await audit.record(
            connection,
            by(request),
            "auth.login",
            tenant_id=tenant.id if tenant else None,
            outcome="invalid-credentials",
            user_id=account.user_id if account else None,
        )
