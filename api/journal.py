"""The journal: an audit entry of what a request does, in the transaction of the change."""

from typing import Any

from litestar import Request
from litestar.datastructures import State

from api.access import Caller
from api.requests import request_id
from db import audit
from db.connection import Connection


async def note(
    request: Request[None, Caller, State], connection: Connection, action: str, **detail: Any
) -> None:
    """Write an entry about the caller's tenant.

    Args:
        request: who, and which.
        connection: the request's transaction, as the login.
        action: what was done, as ``resource.verb``.
        detail: what else matters; never a secret.
    """
    await audit.record(
        connection,
        actor=request.auth.actor,
        action=action,
        tenant_id=request.auth.home.id,
        request_id=request_id(request.scope),
        detail=detail,
    )
