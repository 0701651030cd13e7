"""The keys of a tenant, as operators make them."""

from collections.abc import Sequence
from datetime import datetime

from db import audit
from db.audit import By
from db.control import tenants
from db.session.connection import Connection
from db.tenants import permissions, tokens
from db.tenants.permissions import PermissionName
from db.tenants.states import LIVE
from db.tenants.tokens import Token


async def create(
    connection: Connection,
    slug: str,
    by: By,
    *,
    name: str,
    scopes: Sequence[PermissionName] = permissions.ALL,
    expires_at: datetime | None = None,
) -> Token:
    """Make a key of a tenant, to be shown this once.

    Args:
        connection: within a transaction.
        slug: the tenant's.
        by: who makes it.
        name: what it is for.
        scopes: what it permits.
        expires_at: when it ends; never, by default.

    Raises:
        UnknownTenantError: no tenant has the slug.
        WrongStateError: it is deleted.
    """
    tenant = await tenants.lock(connection, slug, LIVE, "given a key")
    key = tokens.mint("tenant")
    await tokens.store(connection, key, name=name, tenant_id=tenant.id, scopes=scopes, expires_at=expires_at)
    await audit.record(
        connection, by, "key.create", tenant_id=tenant.id, key_id=key.id, name=name, scopes=list(scopes)
    )
    return key
