"""Access tokens: ``tnt_`` (a tenant's key), ``usr_`` (a log-in) and ``opr_`` (an operator).

A token is its kind, a key id (80 bits), a secret (256 bits) and a checksum, so that a mistyped one is
told without a look at the database. Only the SHA-256 of the whole is kept: with 256 random bits, a slow
hash would add nothing.
"""

import base64
import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec

from db.session.connection import Connection

TokenKind = Literal["tenant", "user", "operator"]

PREFIXES: Final[dict[TokenKind, str]] = {"tenant": "tnt", "user": "usr", "operator": "opr"}
_KINDS: Final[dict[str, TokenKind]] = {prefix: kind for kind, prefix in PREFIXES.items()}
_SHAPE: Final = re.compile(r"\A(tnt|usr|opr)_([a-z2-7]{16})_([a-z2-7]{52})([a-z2-7]{7})\Z")


class Token(msgspec.Struct, frozen=True):
    """A token in the clear. It is shown once, and never logged."""

    kind: TokenKind
    id: str
    text: str

    def __repr__(self) -> str:
        return f"Token({self.kind} {self.id})"

    @property
    def hash(self) -> bytes:
        """What is kept of it."""
        return digest(self.text)


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """What a valid token allows, and to whom."""

    token_id: str
    kind: TokenKind
    tenant_id: UUID | None
    user_id: int | None
    scopes: frozenset[str]
    expires_at: datetime | None
    used: bool = True
    """Whether it had been used before this was read."""


def digest(text: str) -> bytes:
    """Return the SHA-256 of a token."""
    return hashlib.sha256(text.encode()).digest()


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()


def _checksum(text: str) -> str:
    return _base32(zlib.crc32(text.encode()).to_bytes(4, "big"))


def mint(kind: TokenKind) -> Token:
    """Make a fresh token."""
    key_id = _base32(secrets.token_bytes(10))
    body = f"{PREFIXES[kind]}_{key_id}_{_base32(secrets.token_bytes(32))}"
    return Token(kind, key_id, body + _checksum(body))


def parse(text: str) -> Token | None:
    """Read a token, or None where ``text`` cannot be one (its shape or its checksum is wrong)."""
    match = _SHAPE.match(text)
    if not match or not hmac.compare_digest(_checksum(text[:-7]), match[4]):
        return None
    return Token(_KINDS[match[1]], match[2], text)


async def store(
    connection: Connection,
    token: Token,
    *,
    name: str,
    tenant_id: UUID | None = None,
    user_id: int | None = None,
    scopes: Sequence[str] = (),
    expires_at: datetime | None = None,
) -> None:
    """Keep a token's hash and what it allows, in the caller's transaction."""
    await connection.execute(
        """
        INSERT INTO shared.access_tokens (id, kind, token_hash, name, tenant_id, user_id, scopes, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        """,
        token.id,
        token.kind,
        token.hash,
        name,
        tenant_id,
        user_id,
        list(scopes),
        expires_at,
    )


_NO_HASH: Final = bytes(32)


async def verify(connection: Connection, token: Token) -> Principal | None:
    """Return what a token allows now; None where it is unknown, wrong, expired or revoked."""
    row = await connection.fetchrow(
        """
        SELECT kind, token_hash, tenant_id, user_id, scopes, expires_at, last_used_at IS NOT NULL AS used
        FROM shared.access_tokens
        WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
        """,
        token.id,
    )
    # Compared against a dummy on a miss, so that both take the same time.
    matches = hmac.compare_digest(row["token_hash"] if row else _NO_HASH, token.hash)
    if row is None or not matches or row["kind"] != token.kind:
        return None
    return Principal(
        token_id=token.id,
        kind=token.kind,
        tenant_id=row["tenant_id"],
        user_id=row["user_id"],
        scopes=frozenset(row["scopes"]),
        expires_at=row["expires_at"],
        used=row["used"],
    )


async def use_first(connection: Connection, token_id: str) -> bool:
    """Note a live token's first use at once; False where the token has ended meanwhile."""
    found = await connection.fetchval(
        """
        UPDATE shared.access_tokens SET last_used_at = coalesce(last_used_at, now())
        WHERE id = $1 AND revoked_at IS NULL
        RETURNING id
        """,
        token_id,
    )
    return found is not None


async def use(connection: Connection, used: Mapping[str, datetime]) -> None:
    """Note when tokens were last used, all in one statement."""
    await connection.execute(
        """
        UPDATE shared.access_tokens t SET last_used_at = u.at
        FROM unnest($1::text[], $2::timestamptz[]) AS u (id, at)
        WHERE t.id = u.id AND t.last_used_at < u.at
        """,
        list(used.keys()),
        list(used.values()),
    )


async def revoke(
    connection: Connection, token_id: str, *, kind: TokenKind, tenant_id: UUID | None = None
) -> str | None:
    """End a live token at once; every worker hears of it.

    Args:
        connection: anybody's who may.
        token_id: its key id.
        kind: what kind it must be.
        tenant_id: whose it must be, for a tenant's or a user's.

    Returns:
        Its name; None where there is no such live token.
    """
    return await connection.fetchval(  # type: ignore[no-any-return]
        """
        UPDATE shared.access_tokens SET revoked_at = now()
        WHERE id = $1 AND kind = $2 AND tenant_id IS NOT DISTINCT FROM $3 AND revoked_at IS NULL
        RETURNING name
        """,
        token_id,
        kind,
        tenant_id,
    )


async def revoke_unused(connection: Connection, token_id: str) -> bool:
    """End a live token that nobody has used yet; False where there is no such token."""
    found = await connection.fetchval(
        """
        UPDATE shared.access_tokens SET revoked_at = now()
        WHERE id = $1 AND last_used_at IS NULL AND revoked_at IS NULL
        RETURNING id
        """,
        token_id,
    )
    return found is not None


async def revoke_user(connection: Connection, tenant_id: UUID, user_id: int) -> None:
    """End a user's log-ins, all of them at once."""
    await connection.execute(
        """
        UPDATE shared.access_tokens SET revoked_at = now()
        WHERE tenant_id = $1 AND user_id = $2 AND kind = 'user' AND revoked_at IS NULL
        """,
        tenant_id,
        user_id,
    )


async def has_operator(connection: Connection) -> bool:
    """Say whether any operator's token is live."""
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT FROM shared.access_tokens WHERE kind = 'operator'"
            " AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()))"
        )
    )


async def sweep(connection: Connection, *, days: int) -> int:
    """Delete log-ins that ended ``days`` ago by themselves; keys and operators' tokens stay, to be listed.

    Args:
        connection: the owner's.
        days: how long they are kept.

    Returns:
        How many went.
    """
    status = await connection.execute(
        """
        DELETE FROM shared.access_tokens
        WHERE kind = 'user' AND expires_at < now() - make_interval(days => $1)
        """,
        days,
    )
    return int(status.split()[-1])
