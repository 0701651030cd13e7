"""The gate: middleware that applies each route's rule before the route's handler runs.

The token decides which tenant a request is for; the ``tenant`` header or a registered host must agree with
it. The header is compared with the token's tenant and never looked up, so an unknown tenant and a foreign
one get the same answer in the same time. A tenant's key carries its own permissions; a user's token has the
permissions of the user's role at that moment.
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Literal, cast
from uuid import UUID

import msgspec
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from sqlalchemy import Integer, bindparam, select

from api.gate.caller import Caller
from api.gate.directory import Directory
from api.gate.limits import Limits
from api.gate.rules import OPT, Rule
from api.gate.serving import check_served
from api.gate.usage import Usage
from db import names
from db.errors import ProblemError
from db.migrations.lineage import Lineage
from db.models import access
from db.session.statements import Statement
from db.session.tenancy import Database
from db.tenants import tokens
from db.tenants.identities import Identity
from db.tenants.registry import Tenant
from db.tenants.states import GONE
from db.tenants.tokens import Principal


class Gate:
    """Middleware that applies each route's rule.

    Args:
        lineage: the tenant lineage, which tells whether this release serves a tenant's revision.
        signup: the setting SIGNUP.
        limits: the worker's rate limits.
    """

    def __init__(
        self, lineage: Lineage, signup: Literal["open", "operator", "closed"], limits: Limits
    ) -> None:
        self._lineage = lineage
        self._signup = signup
        self._limits = limits

    def __call__(self, app: ASGIApp) -> ASGIApp:
        """Return ``app`` with the gate before it."""
        enter, leave = self._limits.enter, self._limits.leave

        async def gate(scope: Scope, receive: Receive, send: Send) -> None:
            scope["user"] = None
            sent = Sent(scope)
            caller = scope["auth"] = await self._caller(scope, sent)
            tenant = caller.tenant
            if tenant is None:
                if caller.principal is not None and cast("HTTPScope", scope)["method"] not in _READS:
                    send = _forgetting(scope["litestar_app"].state.directory, send)
                await app(scope, receive, send)
                return
            enter(tenant.id)
            try:
                scope["auth"] = await _allowed(scope["route_handler"].opt[OPT], caller)
                await app(scope, receive, send)
            finally:
                leave(tenant.id)

        return gate

    async def _caller(self, scope: Scope, sent: "Sent") -> Caller:
        app_state = scope["litestar_app"].state
        database: Database = app_state.database
        rule = scope["route_handler"].opt.get(OPT)
        if not isinstance(rule, Rule):
            raise ProblemError("forbidden")
        if rule.who == "public":
            return Caller(database)
        if rule.who == "signup" and self._signup == "open":
            self._limits.address(scope)
            return Caller(database)
        directory: Directory = app_state.directory
        identity = await self._identity(scope, sent, directory)
        principal = identity.principal
        if rule.who == "signup" and self._signup == "closed":
            raise ProblemError("signup-closed")
        if rule.who not in _ROUTES[principal.kind]:
            raise ProblemError("forbidden")
        if principal.kind == "operator":
            if rule.scope is not None and not principal.scopes & {"*", rule.scope}:
                raise ProblemError("forbidden")
            return Caller(database, principal)
        self._limits.token(principal.token_id)
        return Caller(database, principal, self._tenant(scope, sent, rule, identity), principal.scopes)

    def _tenant(self, scope: Scope, sent: "Sent", rule: Rule, identity: Identity) -> Tenant:
        tenant = identity.tenant
        if tenant is None or tenant.status in GONE:
            raise ProblemError("tenant-forbidden")
        if rule.who == "tenant-or-operator":
            if names.folded(str(scope["path_params"].get("slug"))) != tenant.slug:
                raise ProblemError("tenant-forbidden")
            return tenant
        _check_agreement(sent.tenants, identity.host_tenant_id, rule, tenant)
        if rule.served:
            check_served(self._lineage, tenant)
        return tenant

    async def _identity(self, scope: Scope, sent: "Sent", directory: Directory) -> Identity:
        if len(sent.authorizations) != 1:
            raise ProblemError("unauthenticated")
        scheme, _, text = sent.authorizations[0].decode("latin-1").partition(" ")
        token = tokens.parse(text.strip()) if scheme.casefold() == "bearer" else None
        host = _registrable(sent.hosts[0]) if sent.hosts else None
        found = await directory.identity(token, host) if token else None
        if found is None:
            raise ProblemError("unauthenticated")
        until = found.principal.expires_at
        if until is not None and until <= datetime.now(UTC):
            raise ProblemError("unauthenticated")
        usage: Usage = scope["litestar_app"].state.usage
        if not (usage.is_noted(found.principal) or await usage.note(found.principal)):
            raise ProblemError("unauthenticated")
        return found


class Sent:
    """The headers that the gate reads, each as often as it was sent.

    Raises:
        ProblemError: the request does not name one host (RFC 9112, section 3.2). Only HTTP/1.1 must name one in a
            header.
    """

    __slots__ = ("authorizations", "hosts", "tenants")

    def __init__(self, scope: Scope) -> None:
        self.authorizations: list[bytes] = []
        self.hosts: list[bytes] = []
        self.tenants: list[bytes] = []
        for name, value in scope["headers"]:
            if name == b"host":
                self.hosts.append(value)
            elif name == b"authorization":
                self.authorizations.append(value)
            elif name == b"tenant":
                self.tenants.append(value)
        count = len(self.hosts)
        if count > 1 or (count == 0 and scope["http_version"] == "1.1"):
            raise ProblemError("malformed")


def _check_agreement(named: list[bytes], by_host: UUID | None, rule: Rule, tenant: Tenant) -> None:
    """Check that the request's ``tenant`` header and host agree with the token's tenant.

    Raises:
        ProblemError: they name another tenant, more than one, or none although the rule needs one.
    """
    if len(named) > 1:
        raise ProblemError("tenant-ambiguous")
    if named and names.folded(named[0].decode("latin-1").strip()) != tenant.slug:
        raise ProblemError("tenant-forbidden")
    if by_host is not None and by_host != tenant.id:
        raise ProblemError("tenant-forbidden")
    if not named and by_host is None and rule.who == "tenant":
        raise ProblemError("tenant-required")


@lru_cache(maxsize=4096)
def _registrable(sent: bytes) -> str | None:
    """Return a Host header's name; None if it is an address, or a name that cannot be registered."""
    try:
        return names.host(sent.decode("latin-1").partition(":")[0])
    except names.InvalidNameError:
        return None


_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def _forgetting(directory: Directory, send: Send) -> Send:
    """Return a ``send`` that clears the directory before an operator's act is answered: NOTIFY comes later."""

    async def forget_and_send(message: Message) -> None:
        if message["type"] == "http.response.start":
            directory.forget()
        await send(message)

    return forget_and_send


_ROUTES: Final[dict[tokens.TokenKind, frozenset[str]]] = {
    "tenant": frozenset({"tenant", "tenant-or-operator"}),
    "user": frozenset({"tenant", "user"}),
    "operator": frozenset({"operator", "tenant-or-operator", "signup"}),
}
"""The rules that each kind of token can fulfil; a public route asks for no token."""

_PERMITTED: Final = Statement(
    select(access.User.is_active, access.Permission.name)
    .select_from(access.User)
    .outerjoin(access.RolePermission, access.RolePermission.role_id == access.User.user_role_id)
    .outerjoin(access.Permission, access.Permission.id == access.RolePermission.permission_id)
    .where(access.User.id == bindparam("id", type_=Integer))
)


async def _allowed(rule: Rule, caller: Caller) -> Caller:
    """Return the caller with its current permissions.

    Raises:
        ProblemError: the caller lacks the permission that the route asks for, or its user is gone or inactive.
    """
    principal = caller.principal
    if principal is not None and principal.kind == "user" and rule.served:
        permitted = await _permitted(caller.database, caller.home, principal)
        caller = msgspec.structs.replace(caller, permissions=permitted)
    if rule.permission is not None and rule.permission not in caller.permissions:
        raise ProblemError("forbidden")
    return caller


async def _permitted(database: Database, tenant: Tenant, principal: Principal) -> frozenset[str]:
    """Return the permissions of a user's role at this moment.

    Raises:
        ProblemError: the user does not exist or is not active.
    """
    rows = await database.reads(tenant.schema_name).fetch(_PERMITTED, id=principal.user_id)
    if not rows or not rows[0]["is_active"]:
        raise ProblemError("unauthenticated")
    return frozenset(row["name"] for row in rows if row["name"] is not None)
