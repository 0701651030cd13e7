"""Idempotency: a sign-up that is sent again under its ``Idempotency-Key`` is answered, not done, again.

The key is random and known to the client alone. Its SHA-256 is kept, and the body's HMAC under the key
itself, so that whoever reads the table can try out neither bodies nor the passwords in them.
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
    """The key came with another body the first time."""

    kind = "idempotency-mismatch"


class Request(msgspec.Struct, frozen=True):
    """A request under a key, as far as it is kept."""

    key_hash: bytes
    body_hash: bytes

    @classmethod
    def of(cls, key: str, body: msgspec.Struct) -> "Request":
        """Return what is kept of a key and the body that came with it."""
        secret = key.encode()
        said = msgspec.json.encode(body, order="deterministic")
        return Request(hashlib.sha256(secret).digest(), hmac.digest(secret, said, "sha256"))


class Answer(msgspec.Struct, frozen=True):
    """How a request was answered the first time: whom it signed up, and the id of the key that it showed."""

    tenant_id: UUID
    token_id: str


async def remember(connection: Connection, request: Request, tenant_id: UUID, token_id: str) -> None:
    """Keep a sign-up's answer, in its transaction.

    Raises:
        asyncpg.UniqueViolationError: the same key was answered meanwhile.
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


async def get(connection: Connection, request: Request) -> Answer | None:
    """Return how a request was answered before; None if it is new.

    Args:
        connection: within a transaction, which locks the answer.
        request: as it came now.

    Raises:
        IdempotencyMismatchError: it came with another body the first time.
    """
    row = await connection.fetchrow(
        "SELECT body_hash, tenant_id, token_id FROM shared.idempotency_keys WHERE key_hash = $1 FOR UPDATE",
        request.key_hash,
    )
    if row is None:
        return None
    if not hmac.compare_digest(row["body_hash"], request.body_hash):
        raise IdempotencyMismatchError("the key came with another body the first time")
    return Answer(row["tenant_id"], row["token_id"])


async def exchange(connection: Connection, request: Request, before: Answer) -> Token | None:
    """Put a fresh key in the place of the one that was shown, if nobody has used that; else return None."""
    if not await tokens.revoke_unused(connection, before.token_id):
        return None
    key = await keys.add_first(connection, before.tenant_id)
    await connection.execute(
        "UPDATE shared.idempotency_keys SET token_id = $2 WHERE key_hash = $1", request.key_hash, key.id
    )
    return key


async def sweep(connection: Connection, *, days: int) -> int:
    """Forget answers older than ``days``; return how many."""
    status = await connection.execute(
        "DELETE FROM shared.idempotency_keys WHERE created_at < now() - make_interval(days => $1)", days
    )
    return int(status.split()[-1])
