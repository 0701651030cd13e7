"""Access tokens: ``tnt_`` (a tenant's key), ``usr_`` (a log-in) and ``opr_`` (an operator's token).

A token has a prefix for its kind, a key id (80 bits), a secret (256 bits) and a checksum, so that a
mistyped token is found without a query. Only the SHA-256 of the whole token is stored: a slow hash would
add nothing to 256 random bits.
"""

import base64
import hashlib
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
_DIGITS: Final = str.maketrans("abcdefghijklmnopqrstuvwxyz234567", "0123456789abcdefghijklmnopqrstuv")
"""Python's digits of base 32, by those of RFC 4648."""


class Token(msgspec.Struct, frozen=True):
    """A token in plain text. It is shown once, and never logged."""

    kind: TokenKind
    id: str
    text: str

    def __repr__(self) -> str:
        return f"Token({self.kind} {self.id})"

    @property
    def hash(self) -> bytes:
        """The SHA-256 of the token, which is what is stored."""
        return digest(self.text)


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """What a valid token stands for: whose it is and what it permits."""

    token_id: str
    kind: TokenKind
    tenant_id: UUID | None
    user_id: int | None
    scopes: frozenset[str]
    expires_at: datetime | None
    used: bool = True
    """Whether the token had been used before it was verified."""


def digest(text: str) -> bytes:
    """Return the SHA-256 of a token."""
    return hashlib.sha256(text.encode()).digest()


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()


def _checksum(text: str) -> str:
    return _base32(zlib.crc32(text.encode()).to_bytes(4, "big"))


def _is_checked(text: str, checksum: str) -> bool:
    """Return whether a checksum is that of a text; as `_checksum`, without its cost."""
    return int(checksum.translate(_DIGITS), 32) == zlib.crc32(text.encode()) << 3  # 32 bits in 7 digits of 5


def mint(kind: TokenKind) -> Token:
    """Make a new token. `store` makes it valid."""
    key_id = _base32(secrets.token_bytes(10))
    body = f"{PREFIXES[kind]}_{key_id}_{_base32(secrets.token_bytes(32))}"
    return Token(kind, key_id, body + _checksum(body))


def parse(text: str) -> Token | None:
    """Return the token in ``text``, or None if its shape or checksum is wrong."""
    match = _SHAPE.match(text)
    if not match or not _is_checked(text[:-7], match[4]):
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
    """Store a token's hash and what it permits, in the caller's transaction."""
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


async def use_first(connection: Connection, token_id: str) -> bool:
    """Record a token's first use at once. Return False if the token was revoked meanwhile."""
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
    """Record when tokens were last used, in one statement.

    Args:
        connection: of a login that may write the table.
        used: the times, by token id. A time is ignored if a later one is recorded, or no first use is.
    """
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
    """Revoke a token at once. Every worker is notified.

    Args:
        connection: of a login that may write the table.
        token_id: the token's key id.
        kind: the kind that the token must have.
        tenant_id: the tenant that the token must belong to; None for an operator's token.

    Returns:
        The token's name, or None if there is no such token that is not yet revoked.
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
    """Revoke a token that has not been used. Return False if it was used or revoked, or does not exist."""
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
    """Revoke all of a user's log-ins."""
    await connection.execute(
        """
        UPDATE shared.access_tokens SET revoked_at = now()
        WHERE tenant_id = $1 AND user_id = $2 AND kind = 'user' AND revoked_at IS NULL
        """,
        tenant_id,
        user_id,
    )


async def has_operator(connection: Connection) -> bool:
    """Return True if there is an operator's token that is neither revoked nor expired."""
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT FROM shared.access_tokens WHERE kind = 'operator'"
            " AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()))"
        )
    )


async def sweep(connection: Connection, *, days: int) -> int:
    """Delete log-ins that expired more than ``days`` ago. Keys are kept, so that they can be listed.

    Args:
        connection: of the owner.
        days: how long expired log-ins are kept.

    Returns:
        The number of log-ins deleted.
    """
    status = await connection.execute(
        """
        DELETE FROM shared.access_tokens
        WHERE kind = 'user' AND expires_at < now() - make_interval(days => $1)
        """,
        days,
    )
    return int(status.split()[-1])
