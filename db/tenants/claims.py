"""The claim of a tenant's first key, with the secret whose hash came with the tenant's sign-up."""

import hmac
from typing import Final

from db import audit, names
from db.audit import By
from db.session.connection import Connection
from db.tenants import keys
from db.tenants.states import GONE
from db.tenants.tokens import Token

_NO_HASH: Final = bytes(32)


async def claim(connection: Connection, slug: str, claim_hash: bytes, by: By) -> Token | None:
    """Make the first key of a tenant, if the secret is that of the tenant's sign-up. This works once.

    Args:
        connection: in a transaction.
        slug: the tenant's slug.
        claim_hash: the SHA-256 of the secret.
        by: who claims the key.

    Returns:
        The key, or None if the tenant has no key to claim or the secret is wrong.
    """
    row = await connection.fetchrow(
        """
        SELECT id, claim_hash FROM shared.tenants
        WHERE slug = $1 AND status <> ALL ($2::text[])
        """,
        names.get_slug(slug) or "",  # query even for an invalid slug, so that it takes the same time
        list(GONE),
    )
    # Without a row, compare with a dummy, so that both cases take the same time.
    matches = hmac.compare_digest((row and row["claim_hash"]) or _NO_HASH, claim_hash)
    if row is None or not matches:
        return None
    claimed = await connection.fetchval(
        "UPDATE shared.tenants SET claim_hash = NULL WHERE id = $1 AND claim_hash = $2 RETURNING id",
        row["id"],
        claim_hash,
    )
    if claimed is None:
        return None
    key = await keys.add_first(connection, claimed)
    await audit.record(connection, by, "tenant.claim", tenant_id=claimed, key_id=key.id)
    return key
