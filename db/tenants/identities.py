"""Identities: what a token stands for, together with the tenants that it and a host lead to."""

import hmac
from typing import Final
from uuid import UUID

import msgspec

from db.session.connection import Looks
from db.tenants.registry import Tenant
from db.tenants.tokens import Principal, Token


class Identity(msgspec.Struct, frozen=True):
    """What was found of a request's token and host.

    Args:
        principal: what the token stands for.
        tenant: the principal's tenant, whatever its state; None for an operator.
        host_tenant_id: the id of the tenant that the host leads to, if it leads to one.
    """

    principal: Principal
    tenant: Tenant | None
    host_tenant_id: UUID | None


_TENANT: Final = ", ".join(f"t.{name}" for name in Tenant.__struct_fields__)
_FIND: Final = f"""
SELECT a.kind, a.token_hash, a.tenant_id, a.user_id, a.scopes, nullif(a.expires_at, 'infinity') AS expires_at,
  a.last_used_at IS NOT NULL AS used,
  (SELECT h.tenant_id FROM shared.tenant_hosts h WHERE h.host = $2) AS host_tenant_id, {_TENANT}
FROM shared.access_tokens a LEFT JOIN shared.tenants t ON t.id = a.tenant_id
WHERE a.id = $1 AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
"""
_NO_HASH: Final = bytes(32)


async def get(looks: Looks, token: Token, host: str | None) -> Identity | None:
    """Return the identity of a token and a host; None if the token is unknown, wrong, expired or revoked.

    Args:
        looks: of a login that may read the tables.
        token: the token.
        host: the host's name, if it is one that can be registered.
    """
    row = await looks.fetchrow(_FIND, token.id, host)
    # Without a row, compare with a dummy, so that both cases take the same time.
    matches = hmac.compare_digest(row["token_hash"] if row else _NO_HASH, token.hash)
    if row is None or not matches or row["kind"] != token.kind:
        return None
    principal = Principal(
        token_id=token.id,
        kind=token.kind,
        tenant_id=row["tenant_id"],
        user_id=row["user_id"],
        scopes=frozenset(row["scopes"]),
        expires_at=row["expires_at"],
        used=row["used"],
    )
    tenant = Tenant.of(row) if row["id"] is not None else None
    return Identity(principal, tenant, row["host_tenant_id"])
