"""Idempotency keys: a sign-up repeated with the same ``Idempotency-Key`` is answered, but not done, again.

The key is random and known to the client only. The table holds its SHA-256, and the body's HMAC with the
key as the secret, so that a reader of the table cannot guess bodies, or the passwords in them.
"""

import hashlib
import hmac
from uuid import UUID

import msgspec

from db.errors import TenantryError
from db.session.connection import Connection
from db.tenants import keys, tokens
from db.tenants.tokens import Token


class IdempotencyMismatchError(TenantryError):
    """The idempotency key was first sent with another body."""

    kind = "idempotency-mismatch"


class Request(msgspec.Struct, frozen=True):
    """The hashes that are kept of a request with an idempotency key."""

    key_hash: bytes
    body_hash: bytes

    @classmethod
    def of(cls, key: str, body: msgspec.Struct) -> "Request":
        """Return the hashes of a key and the body that came with it."""
        secret = key.encode()
        said = msgspec.json.encode(body, order="deterministic")
        return Request(hashlib.sha256(secret).digest(), hmac.digest(secret, said, "sha256"))


class FirstAnswer(msgspec.Struct, frozen=True):
    """The first answer to a request: the tenant that was signed up, and the id of the key that was shown."""

    tenant_id: UUID
    token_id: str


async def remember(connection: Connection, request: Request, tenant_id: UUID, token_id: str) -> None:
    """Keep the answer to a sign-up, in the transaction of the sign-up.

    Raises:
        asyncpg.UniqueViolationError: a request with the same idempotency key was answered meanwhile.
    """
    await connection.execute(
        """
        INSERT INTO shared.idempotency_keys (key_hash, body_hash, tenant_id, token_id)
        VALUES ($1, $2, $3, $4)
        """,
        request.key_hash,
        request.body_hash,
        tenant_id,
        token_id,
    )


async def get(connection: Connection, request: Request) -> FirstAnswer | None:
    """Return the first answer to a request, or None if the request is new.

    Args:
        connection: in a transaction, for which the answer's row is locked.
        request: the hashes of the request as it was sent now.

    Raises:
        IdempotencyMismatchError: the idempotency key was first sent with another body.
    """
    row = await connection.fetchrow(
        "SELECT body_hash, tenant_id, token_id FROM shared.idempotency_keys WHERE key_hash = $1 FOR UPDATE",
        request.key_hash,
    )
    if row is None:
        return None
    if not hmac.compare_digest(row["body_hash"], request.body_hash):
        raise IdempotencyMismatchError("the key came with another body the first time")
    return FirstAnswer(row["tenant_id"], row["token_id"])


async def exchange(connection: Connection, request: Request, before: FirstAnswer) -> Token | None:
    """Replace the key that was shown with a new one. Return None if the shown key was used or revoked."""
    if not await tokens.revoke_unused(connection, before.token_id):
        return None
    key = await keys.add_first(connection, before.tenant_id)
    await connection.execute(
        "UPDATE shared.idempotency_keys SET token_id = $2 WHERE key_hash = $1", request.key_hash, key.id
    )
    return key


async def sweep(connection: Connection, *, days: int) -> int:
    """Delete answers older than ``days``, and return how many were deleted."""
    status = await connection.execute(
        "DELETE FROM shared.idempotency_keys WHERE created_at < now() - make_interval(days => $1)", days
    )
    return int(status.split()[-1])
