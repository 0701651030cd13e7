"""Access: who may call a route, decided before its handler runs, from the rule that the route declares.

A route without a rule is refused. The token decides which tenant a request is for; the ``tenant`` header
or a registered host must agree with it. An unknown tenant and a foreign one get the same answer in the
same time, since neither is looked up. A tenant's keys carry what they permit; a user's token permits what
the user's role does at that moment.
"""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, Final, Literal, cast

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from sqlalchemy import Integer, bindparam, select

from api.directory import Directory
from api.limits import Limits
from api.problems import Problem
from api.usage import Usage
from db import names, permissions, tokens
from db.migrations.lineage import Lineage
from db.models import tenant as models
from db.models.tenant import OLDEST_SERVED
from db.permissions import Permission
from db.registry import Tenant
from db.statements import Statement
from db.tenancy import Database, TenantTransaction
from db.tokens import Grant

OPT: Final = "access"
"""The route option that holds its rule."""


class Rule(msgspec.Struct, frozen=True):
    """Who may call a route.

    Args:
        who: anybody; a key or a user of a tenant that is being served; a user alone; the tenant's key or an
            operator, whatever the tenant's state; an operator; whoever the setting SIGNUP lets.
        permission: what a tenant's token must permit.
        served: whether the user's tenant must be one that is being served.
        scope: what an operator's token must permit.
    """

    who: Literal["public", "tenant", "user", "tenant-or-operator", "operator", "signup"]
    permission: Permission | None = None
    served: bool = True
    scope: str | None = None


def public() -> dict[str, Rule]:
    """Anybody may call the route."""
    return {OPT: Rule("public")}


def tenant(permission: Permission) -> dict[str, Rule]:
    """Tokens of the tenant may call the route, where they permit ``permission``."""
    return {OPT: Rule("tenant", permission)}


def user(*, served: bool = True) -> dict[str, Rule]:
    """Users who are logged in may call the route; the tenant need not be named.

    Args:
        served: whether their tenant must be one that is being served, and they active.
    """
    return {OPT: Rule("user", served=served)}


def tenant_or_operator() -> dict[str, Rule]:
    """Keys of the tenant named in the path may call the route, and operators."""
    return {OPT: Rule("tenant-or-operator")}


def operator(scope: str | None = None) -> dict[str, Rule]:
    """Operators may call the route, and nobody else.

    Args:
        scope: what their token must permit by name, unless it permits everything (``*``).
    """
    return {OPT: Rule("operator", scope=scope)}


def signup() -> dict[str, Rule]:
    """Whoever the setting SIGNUP lets may call the route."""
    return {OPT: Rule("signup")}


class Caller(msgspec.Struct, frozen=True):
    """Who calls: ``request.auth``. Only a caller with a tenant can reach a tenant's rows."""

    database: Database
    grant: Grant | None = None
    tenant: Tenant | None = None
    permissions: frozenset[str] = frozenset()

    @property
    def user_id(self) -> int | None:
        """The user who is logged in; None for a key or an operator."""
        return self.grant.user_id if self.grant else None

    def check_may_give(self, names: Iterable[str]) -> None:
        """Check that nobody gives what they have not: permissions to a role, a role to a user.

        What the API does not enforce is the tenant's own affair: whoever may define such permissions may
        also give them.

        Raises:
            Problem: one of the permissions is not the caller's to give.
        """
        given = set(names) - self.permissions
        if given.intersection(permissions.ALL) or (given and "permissions:write" not in self.permissions):
            raise Problem("forbidden")

    @property
    def actor(self) -> str:
        """Who this is, for the audit log."""
        return self.grant.token_id if self.grant else "anonymous"

    def transaction(self) -> AbstractAsyncContextManager[TenantTransaction]:
        """Open a transaction in the caller's tenant."""
        return self.database.tenant(self.home.schema_name)

    @property
    def home(self) -> Tenant:
        """The caller's tenant, where the route's rule says that there is one."""
        assert self.tenant is not None  # noqa: S101 - the route's rule is `tenant` or `user`
        return self.tenant


TenantRequest = Request[None, Caller, State]


class Gate(ASGIMiddleware):
    """Applies each route's rule.

    Args:
        lineage: the tenants' revisions, to know which this release serves.
        signup: the setting SIGNUP.
        limits: what one token and one tenant may ask for.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(
        self, lineage: Lineage, signup: Literal["open", "operator", "closed"], limits: Limits
    ) -> None:
        self._lineage = lineage
        self._signup = signup
        self._limits = limits

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        scope["user"] = None
        caller = scope["auth"] = await self._caller(scope)
        if caller.tenant is None:
            if caller.grant is not None and cast("HTTPScope", scope)["method"] not in _READS:
                send = _forgetting(scope["litestar_app"].state.directory, send)
            await next_app(scope, receive, send)
            return
        with self._limits.running(caller.tenant.id):
            scope["auth"] = await _allowed(scope["route_handler"].opt[OPT], caller)
            await next_app(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller:
        app_state = scope["litestar_app"].state
        database: Database = app_state.database
        rule = scope["route_handler"].opt.get(OPT)
        if not isinstance(rule, Rule):
            raise Problem("forbidden")
        if rule.who == "public":
            return Caller(database)
        if rule.who == "signup" and self._signup == "open":
            self._limits.address(scope)
            return Caller(database)
        directory: Directory = app_state.directory
        grant = await self._grant(scope, directory)
        if rule.who == "signup" and self._signup == "closed":
            raise Problem("signup-closed")
        if rule.who not in _ROUTES[grant.kind]:
            raise Problem("forbidden")
        if grant.kind == "operator":
            if rule.scope is not None and not grant.scopes & {"*", rule.scope}:
                raise Problem("forbidden")
            return Caller(database, grant)
        self._limits.token(grant.token_id)
        owner = await self._tenant(scope, directory, rule, grant)
        return Caller(database, grant, owner, grant.scopes)

    async def _tenant(self, scope: Scope, directory: Directory, rule: Rule, grant: Grant) -> Tenant:
        owner = await directory.tenant(grant.tenant_id) if grant.tenant_id else None
        if owner is None or owner.status in {"deleted", "purging", "purged"}:
            raise Problem("tenant-forbidden")
        if rule.who == "tenant-or-operator":
            if str(scope["path_params"].get("slug")).casefold() != owner.slug:
                raise Problem("tenant-forbidden")
            return owner
        await self._agree(scope, directory, rule, owner)
        if rule.served:
            check_served(self._lineage, owner)
        return owner

    async def _grant(self, scope: Scope, directory: Directory) -> Grant:
        sent = _header(scope, b"authorization")
        if len(sent) != 1:
            raise Problem("unauthenticated")
        scheme, _, text = sent[0].partition(" ")
        token = tokens.parse(text.strip()) if scheme.casefold() == "bearer" else None
        grant = await directory.grant(token) if token else None
        if grant is None or (grant.expires_at is not None and grant.expires_at <= datetime.now(UTC)):
            raise Problem("unauthenticated")
        usage: Usage = scope["litestar_app"].state.usage
        if not await usage.note(grant):
            raise Problem("unauthenticated")
        return grant

    async def _agree(self, scope: Scope, directory: Directory, rule: Rule, owner: Tenant) -> None:
        """Check what the request says of its tenant against the token's."""
        named = _header(scope, b"tenant")
        if len(named) > 1:
            raise Problem("tenant-ambiguous")
        if named and named[0].strip().lower() != owner.slug:
            raise Problem("tenant-forbidden")
        by_host = await _tenant_of_host(scope, directory)
        if by_host is not None and by_host != owner.id:
            raise Problem("tenant-forbidden")
        if not named and by_host is None and rule.who == "tenant":
            raise Problem("tenant-required")


_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def _forgetting(directory: Directory, send: Send) -> Send:
    """Forget all that is remembered before an operator's act is answered: NOTIFY comes a moment later."""

    async def forget_and_send(message: Message) -> None:
        if message["type"] == "http.response.start":
            directory.forget()
        await send(message)

    return forget_and_send


def check_served(lineage: Lineage, owner: Tenant) -> None:
    """Check that this release serves a tenant now.

    Args:
        lineage: the tenants' revisions that this release knows.
        owner: the tenant.

    Raises:
        Problem: it does not; the problem says why.
    """
    if owner.status == "suspended":
        raise Problem("tenant-suspended")
    if owner.status != "active" or owner.revision is None:
        raise Problem("tenant-not-ready")
    if not _serves(lineage, owner.revision, owner.compatible_from):
        raise Problem("tenant-out-of-range")


def _serves(lineage: Lineage, revision: str, compatible_from: str | None) -> bool:
    if lineage.knows(revision):
        return lineage.position(revision) >= lineage.position(OLDEST_SERVED)
    # Newer than this release: its own word for how far back it works decides.
    return compatible_from is not None and lineage.knows(compatible_from)


_ROUTES: Final[dict[tokens.Kind, frozenset[str]]] = {
    "tenant": frozenset({"tenant", "tenant-or-operator"}),
    "user": frozenset({"tenant", "user"}),
    "operator": frozenset({"operator", "tenant-or-operator", "signup"}),
}
"""Which rules a kind of token can fulfil; what is public asks for none."""

_PERMITTED: Final = Statement(
    select(models.User.is_active, models.Permission.name)
    .select_from(models.User)
    .outerjoin(models.RolePermission, models.RolePermission.role_id == models.User.user_role_id)
    .outerjoin(models.Permission, models.Permission.id == models.RolePermission.permission_id)
    .where(models.User.id == bindparam("id", type_=Integer))
)


async def _allowed(rule: Rule, caller: Caller) -> Caller:
    """Return the caller with what it may do now.

    Raises:
        Problem: that is not what the route asks for.
    """
    grant = caller.grant
    if grant is not None and grant.kind == "user" and rule.served:
        permitted = await _permitted(caller.database, caller.home, grant)
        caller = msgspec.structs.replace(caller, permissions=permitted)
    if rule.permission is not None and rule.permission not in caller.permissions:
        raise Problem("forbidden")
    return caller


async def _permitted(database: Database, owner: Tenant, grant: Grant) -> frozenset[str]:
    """Return what a user may do now."""
    async with database.tenant(owner.schema_name) as transaction:
        rows = await transaction.fetch(_PERMITTED, id=grant.user_id)
    if not rows or not rows[0]["is_active"]:
        raise Problem("unauthenticated")
    return frozenset(row["name"] for row in rows if row["name"] is not None)


async def _tenant_of_host(scope: Scope, directory: Directory) -> Any:
    sent = _header(scope, b"host")
    if len(sent) != 1:
        return None
    try:
        host = names.host(sent[0].partition(":")[0])
    except names.NameRefused:
        return None  # an address, or nothing that anybody could have registered
    return await directory.tenant_of_host(host)


def _header(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]
