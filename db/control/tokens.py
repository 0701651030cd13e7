"""Operators' tokens, as operators mint, rotate and revoke them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from db import audit
from db.audit import By
from db.errors import TenantryError
from db.session.connection import Connection
from db.tenants import keys, tokens
from db.tenants.tokens import Token


class UnknownTokenError(TenantryError):
    """There is no live operator's token of this id."""

    kind = "not-found"

    def __init__(self, token_id: str) -> None:
        super().__init__(f"no live operator token {token_id}")


async def mint(
    connection: Connection, by: By, *, name: str, days: int | None = None, scopes: Sequence[str] = ("*",)
) -> Token:
    """Mint an operator's token, to be shown this once.

    Args:
        connection: within a transaction.
        by: who mints it.
        name: the operator's.
        days: until it expires; it never does, by default.
        scopes: what it permits beyond an operator's daily work; everything, by default.
    """
    token = tokens.mint("operator")
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    await tokens.store(connection, token, name=name, scopes=scopes, expires_at=expires_at)
    await audit.record(
        connection, by, "operator_token.create", key_id=token.id, name=name, scopes=list(scopes)
    )
    return token


async def rotate(connection: Connection, by: By, token_id: str, *, days: int | None = None) -> Token:
    """Replace a live token by a fresh one of the same name and scopes; the old one ends at once.

    Raises:
        UnknownTokenError: there is no live token of this id.
    """
    old = await keys.get_operator(connection, token_id)
    await revoke(connection, by, token_id)
    assert old is not None  # it was live a moment ago
    return await mint(connection, by, name=old.name, days=days, scopes=old.scopes)


async def revoke(connection: Connection, by: By, token_id: str) -> str:
    """End a live token at once, on every worker; return its name.

    Raises:
        UnknownTokenError: there is no live token of this id.
    """
    name = await tokens.revoke(connection, token_id, kind="operator")
    if name is None:
        raise UnknownTokenError(token_id)
    await audit.record(connection, by, "operator_token.revoke", key_id=token_id)
    return name
