"""Idempotency: a sign-up that is sent again under its ``Idempotency-Key`` is answered, not done, again.

The key is random and known to the client alone. Its SHA-256 is kept, and the body's HMAC under the key
itself, so that whoever reads the table can try out neither bodies nor the passwords in them.
"""

import hashlib
import hmac
from uuid import UUID

import msgspec

from db import registry, tokens
from db.connection import Connection
from db.registry import Tenant
from db.signup import first_key
from db.tokens import Token


class Mismatch(Exception):  # noqa: N818 - reads as what was met
    """The key came with another body before."""


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


class Answered(msgspec.Struct, frozen=True):
    """A sign-up that was answered before.

    Args:
        tenant: whom it signed up.
        key: a fresh key in place of the first, which ends; None where that has been used, revoked or
            claimed, so that whoever sends this again has it or can do without.
    """

    tenant: Tenant
    key: Token | None


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


async def answered(connection: Connection, request: Request) -> Answered | None:
    """Return what a request was answered before; None where it is new.

    Args:
        connection: within a transaction.
        request: as it came now.

    Raises:
        Mismatch: it came with another body before.
    """
    row = await connection.fetchrow(
        "SELECT body_hash, tenant_id, token_id FROM shared.idempotency_keys WHERE key_hash = $1 FOR UPDATE",
        request.key_hash,
    )
    if row is None:
        return None
    if not hmac.compare_digest(row["body_hash"], request.body_hash):
        raise Mismatch
    tenant = await registry.get(connection, row["tenant_id"])
    assert tenant is not None  # noqa: S101 - registry rows are never deleted
    if not await tokens.revoke_unused(connection, row["token_id"]):
        return Answered(tenant, None)
    key = await first_key(connection, tenant.id)
    await connection.execute(
        "UPDATE shared.idempotency_keys SET token_id = $2 WHERE key_hash = $1", request.key_hash, key.id
    )
    return Answered(tenant, key)


async def sweep(connection: Connection, *, days: int) -> int:
    """Forget answers older than ``days``; return how many."""
    status = await connection.execute(
        "DELETE FROM shared.idempotency_keys WHERE created_at < now() - make_interval(days => $1)", days
    )
    return int(status.split()[-1])
