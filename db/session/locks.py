"""Advisory locks: the keys of all of them, so that no two things ever share one.

PostgreSQL has one space of 64-bit keys a database (manual, Explicit Locking, Advisory Locks). Tenants and
messages are hashed under seeds of their own, 0 and 1.
"""

from typing import Final
from uuid import UUID

from db.session.connection import Connection

SHARED: Final = 7_302_845_120_000
"""Held by whoever migrates the shared lineage."""

KEEPERS: Final = 7_302_845_120_001
"""Held by whoever adds a keeper."""


def tenant(parameter: str) -> str:
    """Return the key of a tenant: held by whoever provisions, migrates or drops its schema.

    Args:
        parameter: what stands for the tenant's id, as text, in the statement.
    """
    return f"hashtextextended({parameter}, 0)"


_TENANT: Final = tenant("$1::text")


async def try_tenant(connection: Connection, tenant_id: UUID) -> bool:
    """Take a tenant's lock for the transaction; return False if another session has it."""
    return bool(await connection.fetchval(f"SELECT pg_try_advisory_xact_lock({_TENANT})", str(tenant_id)))


MESSAGE: Final = "hashtextextended($2::text, 1)"
"""The key of a message, whose id is $2: held from before a command's first transaction to after its last."""

WAITS_AT_MOST: Final = "(SELECT set_config('lock_timeout', $1, true)) IS NOT NULL"
"""A condition that holds, and bounds the waiting for locks to $1 milliseconds, given as text.

It is evaluated before the first row (InitPlan). A transaction around the statement would cost three round
trips instead.
"""
