"""Making a tenant's keys, for operators."""

from collections.abc import Sequence
from datetime import datetime

from db.audit import By
from db.control import tenants
from db.session.connection import Connection
from db.tenants import keys, permissions
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
    """Make a key for a tenant. Its text can be shown this once only.

    Args:
        connection: in a transaction.
        slug: the tenant's slug.
        by: who makes the key.
        name: what the key is for.
        scopes: the permissions of the key; all by default.
        expires_at: when the key expires; never by default.

    Raises:
        UnknownTenantError: no tenant has the slug.
        WrongStateError: the tenant is deleted.
    """
    tenant = await tenants.lock(connection, slug, LIVE, "given a key")
    return await keys.create(connection, by, tenant.id, name=name, scopes=scopes, expires_at=expires_at)
