"""People: which tenant an e-mail belongs to, and administrators who wait for their tenant's schema.

An e-mail, as `names.mailbox` returns it, belongs to one person in one tenant.
The table ``shared_users`` mirrors the tenants' tables of users.
"""

from uuid import UUID

import asyncpg
import msgspec

from db.errors import TakenError
from db.session.connection import Connection


class Administrator(msgspec.Struct, frozen=True, kw_only=True):
    """The first user of a tenant. ``password_hash`` is an argon2 hash; the password itself is never stored."""

    email: str
    first_name: str | None = None
    last_name: str | None = None
    password_hash: str | None = None


async def get_tenant(connection: Connection, email: str) -> UUID | None:
    """Return the id of the tenant that an e-mail belongs to, or None if it belongs to no tenant."""
    return await connection.fetchval(  # type: ignore[no-any-return]
        "SELECT tenant_id FROM shared.shared_users WHERE email = $1", email
    )


async def add(connection: Connection, tenant_id: UUID, email: str, *, is_active: bool) -> None:
    """Add an e-mail to a tenant, in the caller's transaction.

    Raises:
        TakenError: the e-mail belongs to somebody already.
    """
    try:
        await connection.execute(
            "INSERT INTO shared.shared_users (email, tenant_id, is_active) VALUES ($1, $2, $3)",
            email,
            tenant_id,
            is_active,
        )
    except asyncpg.UniqueViolationError as error:
        raise TakenError("email") from error


async def change(
    connection: Connection, tenant_id: UUID, email_before: str, *, email: str, is_active: bool
) -> None:
    """Update the entry of a user that has changed, in the caller's transaction.

    Args:
        connection: in the transaction of the change.
        tenant_id: the id of the user's tenant.
        email_before: the user's e-mail before the change.
        email: the user's e-mail after the change.
        is_active: whether the user may log in.

    Raises:
        TakenError: the new e-mail belongs to somebody already.
    """
    try:
        await connection.execute(
            """
            UPDATE shared.shared_users SET email = $3, is_active = $4, updated_at = now()
            WHERE email = $1 AND tenant_id = $2 AND (email, is_active) IS DISTINCT FROM ($3, $4)
            """,
            email_before,
            tenant_id,
            email,
            is_active,
        )
    except asyncpg.UniqueViolationError as error:
        raise TakenError("email") from error


async def remove(connection: Connection, tenant_id: UUID, email: str) -> None:
    """Remove an e-mail from a tenant, in the caller's transaction. Another tenant may use it then."""
    await connection.execute(
        "DELETE FROM shared.shared_users WHERE email = $1 AND tenant_id = $2", email, tenant_id
    )


async def reserve(connection: Connection, tenant_id: UUID, administrator: Administrator) -> None:
    """Keep a sign-up's administrator until the tenant has its schema. Until then, the e-mail is inactive.

    Raises:
        TakenError: the e-mail belongs to somebody already.
    """
    await add(connection, tenant_id, administrator.email, is_active=False)
    await connection.execute(
        """
        INSERT INTO shared.pending_admins (tenant_id, email, first_name, last_name, password_hash)
        VALUES ($1, $2, $3, $4, $5)
        """,
        tenant_id,
        administrator.email,
        administrator.first_name,
        administrator.last_name,
        administrator.password_hash,
    )


async def get_waiting_hash(connection: Connection, tenant_id: UUID, email: str) -> str | None:
    """Return the password hash of the waiting administrator with this e-mail, or None."""
    return await connection.fetchval(  # type: ignore[no-any-return]
        "SELECT password_hash FROM shared.pending_admins WHERE tenant_id = $1 AND email = $2",
        tenant_id,
        email,
    )


async def take_waiting(connection: Connection, tenant_id: UUID) -> Administrator | None:
    """Remove and return a tenant's waiting administrator, or return None. The e-mail becomes active.

    Args:
        connection: in the transaction that makes the user, so that the hash is deleted when the user exists.
        tenant_id: the tenant's id.
    """
    row = await connection.fetchrow(
        """
        DELETE FROM shared.pending_admins WHERE tenant_id = $1
        RETURNING email, first_name, last_name, password_hash
        """,
        tenant_id,
    )
    if row is None:
        return None
    administrator = Administrator(**dict(row))
    await connection.execute(
        "UPDATE shared.shared_users SET is_active = true, updated_at = now() WHERE email = $1",
        administrator.email,
    )
    return administrator
