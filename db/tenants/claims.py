"""Claims: the first key of a tenant, for the flow that signed it up by an event and sent the hash of a secret."""

import hmac
from typing import Final

from db import audit, names
from db.audit import By
from db.session.connection import Connection
from db.tenants import keys
from db.tenants.tokens import Token

_NO_HASH: Final = bytes(32)


async def claim(connection: Connection, slug: str, claim_hash: bytes, by: By) -> Token | None:
    """Make the first key of a tenant for whoever has the secret of its sign-up; it works once.

    Args:
        connection: within a transaction.
        slug: the tenant's.
        claim_hash: the SHA-256 of the secret.
        by: who claims it.

    Returns:
        The key; None if there is nothing to claim, or not with this secret.
    """
    row = await connection.fetchrow(
        """
        SELECT id, claim_hash FROM shared.tenants
        WHERE slug = $1 AND status NOT IN ('deleted', 'purging', 'purged')
        """,
        names.get_slug(slug) or "",  # looked up all the same, in the time that a known one takes
    )
    # Compared against a dummy on a miss, so that both take the same time.
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
