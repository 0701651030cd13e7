"""Keys: tenants' API keys and operators' tokens, which are listed by name. Log-ins are not keys."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from db import audit, names
from db.audit import By
from db.session.connection import Connection
from db.tenants import permissions, tokens
from db.tenants.tokens import Token


class Key(msgspec.Struct, frozen=True):
    """A key, without its secret. ``last_used_at`` may be about a minute behind."""

    id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


_COLUMNS: Final = ", ".join(
    "nullif(expires_at, 'infinity') AS expires_at" if name == "expires_at" else name
    for name in Key.__struct_fields__
)
"""A key that expires at infinity, as could once be made, never expires."""


async def add_first(connection: Connection, tenant_id: UUID) -> Token:
    """Make a tenant's first key, with all permissions, in the caller's transaction."""
    key = tokens.mint("tenant")
    await tokens.store(connection, key, name="first key", tenant_id=tenant_id, scopes=permissions.ALL)
    return key


async def create(
    connection: Connection,
    by: By,
    tenant_id: UUID,
    *,
    name: str,
    scopes: Sequence[str],
    expires_at: datetime | None = None,
) -> Token:
    """Make a tenant's key. Its text can be shown this once only.

    Args:
        connection: in a transaction.
        by: who makes the key.
        tenant_id: the tenant's id.
        name: what the key is for.
        scopes: the permissions of the key.
        expires_at: when the key expires; never by default.

    Raises:
        InvalidNameError: the name is not a line of text.
    """
    key = tokens.mint("tenant")
    name = names.line(name, longest=100)
    await tokens.store(connection, key, name=name, tenant_id=tenant_id, scopes=scopes, expires_at=expires_at)
    await audit.record(connection, by, "key.create", tenant_id=tenant_id, key_id=key.id, scopes=list(scopes))
    return key


async def list_(connection: Connection, tenant_id: UUID) -> list[Key]:
    """Return all keys of a tenant, revoked ones included, oldest first."""
    rows = await connection.fetch(
        f"""
        SELECT {_COLUMNS} FROM shared.access_tokens
        WHERE tenant_id = $1 AND kind = 'tenant' ORDER BY created_at, id
        """,
        tenant_id,
    )
    return [Key(*row.values()) for row in rows]


async def list_unrevoked(
    connection: Connection, tenant_id: UUID, *, limit: int, after: tuple[datetime, str] | None = None
) -> list[Key]:
    """Return keys of a tenant that have not been revoked, oldest first.

    Args:
        connection: of a login that may read the table.
        tenant_id: the tenant's id.
        limit: most keys to return.
        after: the ``created_at`` and id of a key; return only keys that follow it.
    """
    rows = await connection.fetch(
        f"""
        SELECT {_COLUMNS} FROM shared.access_tokens
        WHERE tenant_id = $1 AND kind = 'tenant' AND revoked_at IS NULL
          AND ($2::timestamptz IS NULL OR (created_at, id) > ($2, $3))
        ORDER BY created_at, id LIMIT $4
        """,
        tenant_id,
        *(after or (None, None)),
        limit,
    )
    return [Key(*row.values()) for row in rows]


async def count_live(connection: Connection, tenant_id: UUID) -> int:
    """Return how many of a tenant's keys are neither revoked nor expired."""
    return int(
        await connection.fetchval(
            """
            SELECT count(*) FROM shared.access_tokens
            WHERE tenant_id = $1 AND kind = 'tenant' AND revoked_at IS NULL
              AND (expires_at IS NULL OR expires_at > now())
            """,
            tenant_id,
        )
    )


async def list_operators(connection: Connection) -> list[Key]:
    """Return all operators' tokens, revoked ones included, oldest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM shared.access_tokens WHERE kind = 'operator' ORDER BY created_at"
    )
    return [Key(*row.values()) for row in rows]


async def get_operator(connection: Connection, token_id: str) -> Key | None:
    """Return an operator's token, revoked or not, or None if there is no such token."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM shared.access_tokens WHERE id = $1 AND kind = 'operator'", token_id
    )
    return Key(*row.values()) if row else None
