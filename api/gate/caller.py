"""Callers: a request's principal, tenant and permissions. Routes find the caller in ``request.auth``."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager

import msgspec
from litestar import Request
from litestar.datastructures import State

from api.gate.request_ids import request_id
from db.audit import By
from db.errors import ProblemError
from db.session.tenancy import Database
from db.session.transaction import Reads, TenantTransaction
from db.tenants import permissions
from db.tenants.registry import Tenant
from db.tenants.tokens import Principal


class Caller(msgspec.Struct, frozen=True):
    """A principal with its tenant and its permissions at the time of the request.

    Only a caller with a tenant can reach a tenant's rows.

    Args:
        database: the API's connections.
        principal: what the request's token stands for; None if the route asked for no token.
        tenant: the principal's tenant; None for operators and anonymous callers.
        permissions: names of the permissions that the token has now; empty for operators.
    """

    database: Database
    principal: Principal | None = None
    tenant: Tenant | None = None
    permissions: frozenset[str] = frozenset()

    @property
    def user_id(self) -> int | None:
        """The id of the user who is logged in, or None for a key or an operator."""
        return self.principal.user_id if self.principal else None

    @property
    def actor(self) -> str:
        """The caller's name for the audit log: the token's key id, or ``anonymous``."""
        return self.principal.token_id if self.principal else "anonymous"

    @property
    def home(self) -> Tenant:
        """The caller's tenant. Use it only in routes whose rule is `tenant` or `user`."""
        assert self.tenant is not None
        return self.tenant

    def reads(self) -> Reads:
        """Return what reads in the caller's tenant, each statement in a transaction of its own."""
        return self.database.reads(self.home.schema_name)

    def transaction(self) -> AbstractAsyncContextManager[TenantTransaction]:
        """Open a tenant transaction in the caller's tenant."""
        return self.database.tenant(self.home.schema_name)

    def check_may_give(self, names: Iterable[str]) -> None:
        """Check that the caller may give these permissions to a role, a key or a user.

        Callers can give only permissions that they have. The API does not enforce permissions that a tenant
        made for itself, so a caller with ``permissions:write`` can give those too.

        Args:
            names: names of the permissions to give.

        Raises:
            ProblemError: the caller may not give one of the permissions.
        """
        given = set(names) - self.permissions
        if given.intersection(permissions.ALL) or (given and "permissions:write" not in self.permissions):
            raise ProblemError("forbidden")


ApiRequest = Request[None, Caller, State]
"""A request that has passed the gate."""


def by(request: ApiRequest, reason: str | None = None) -> By:
    """Return who acts and why, for the audit log.

    Args:
        request: the request that acts.
        reason: the reason in the caller's own words, if one was given.
    """
    return By(actor=request.auth.actor, request_id=request_id(request.scope), reason=reason)
