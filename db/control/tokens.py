"""Minting, rotating and revoking operators' tokens."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from db import audit, names
from db.audit import By
from db.errors import TenantryError
from db.session.connection import Connection
from db.tenants import keys, tokens
from db.tenants.tokens import Token


class UnknownTokenError(TenantryError):
    """There is no operator's token with this id that is not yet revoked."""

    kind = "not-found"

    def __init__(self, token_id: str) -> None:
        super().__init__(f"no live operator token {token_id}")


async def mint(
    connection: Connection, by: By, *, name: str, days: int | None = None, scopes: Sequence[str] = ("*",)
) -> Token:
    """Mint an operator's token. Its text can be shown this once only.

    Args:
        connection: in a transaction.
        by: who mints the token.
        name: the operator's name.
        days: days until the token expires; it never expires by default.
        scopes: what the token permits beyond an operator's daily work; everything by default.

    Raises:
        InvalidNameError: the name is not a line of text.
    """
    return await _mint(connection, by, name=names.line(name, longest=100), days=days, scopes=scopes)


async def _mint(
    connection: Connection, by: By, *, name: str, days: int | None, scopes: Sequence[str]
) -> Token:
    token = tokens.mint("operator")
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    await tokens.store(connection, token, name=name, scopes=scopes, expires_at=expires_at)
    await audit.record(
        connection, by, "operator_token.create", key_id=token.id, name=name, scopes=list(scopes)
    )
    return token


async def rotate(connection: Connection, by: By, token_id: str, *, days: int | None = None) -> Token:
    """Revoke a token at once, and mint a new one with the same name and scopes.

    Raises:
        UnknownTokenError: there is no token with this id that is not yet revoked.
    """
    old = await keys.get_operator(connection, token_id)
    await revoke(connection, by, token_id)
    assert old is not None  # it was just revoked, so it exists
    return await _mint(connection, by, name=old.name, days=days, scopes=old.scopes)


async def revoke(connection: Connection, by: By, token_id: str) -> str:
    """Revoke a token at once, and return its name. Every worker is notified.

    Raises:
        UnknownTokenError: there is no token with this id that is not yet revoked.
    """
    name = await tokens.revoke(connection, token_id, kind="operator")
    if name is None:
        raise UnknownTokenError(token_id)
    await audit.record(connection, by, "operator_token.revoke", key_id=token_id)
    return name
