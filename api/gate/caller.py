"""Callers: who calls, of which tenant, and what they may do. Routes find theirs in ``request.auth``."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager

import msgspec
from litestar import Request
from litestar.datastructures import State

from api.gate.request_ids import request_id
from db.audit import By
from db.errors import ProblemError
from db.session.tenancy import Database, TenantTransaction
from db.tenants import permissions
from db.tenants.registry import Tenant
from db.tenants.tokens import Principal


class Caller(msgspec.Struct, frozen=True):
    """Who calls. Only a caller with a tenant can reach a tenant's rows."""

    database: Database
    principal: Principal | None = None
    tenant: Tenant | None = None
    permissions: frozenset[str] = frozenset()

    @property
    def user_id(self) -> int | None:
        """The user who is logged in; None for a key or an operator."""
        return self.principal.user_id if self.principal else None

    @property
    def actor(self) -> str:
        """Who this is, for the audit log."""
        return self.principal.token_id if self.principal else "anonymous"

    @property
    def home(self) -> Tenant:
        """The caller's tenant. Only for routes whose rule is `tenant` or `user`."""
        assert self.tenant is not None
        return self.tenant

    def transaction(self) -> AbstractAsyncContextManager[TenantTransaction]:
        """Open a transaction in the caller's tenant."""
        return self.database.tenant(self.home.schema_name)

    def check_may_give(self, names: Iterable[str]) -> None:
        """Check that callers give only what they have: permissions to a role, a role to a user.

        The API does not enforce permissions that a tenant has made for itself. Whoever may define those may
        also give them.

        Raises:
            ProblemError: one of the permissions is not the caller's to give.
        """
        given = set(names) - self.permissions
        if given.intersection(permissions.ALL) or (given and "permissions:write" not in self.permissions):
            raise ProblemError("forbidden")


ApiRequest = Request[None, Caller, State]
"""A request that has passed the gate."""


def by(request: ApiRequest, reason: str | None = None) -> By:
    """Return who acts, for the audit log.

    Args:
        request: the request by which they do.
        reason: why, in their own words.
    """
    return By(actor=request.auth.actor, request_id=request_id(request.scope), reason=reason)
