"""The keys of all advisory locks, in one place so that no two locks share a key.

A database has one space of 64-bit keys (PostgreSQL manual, Explicit Locking, Advisory Locks). The ids of
tenants are hashed with seed 0, those of messages with seed 1.
"""

from typing import Final
from uuid import UUID

from db.session.connection import Connection

SHARED: Final = 7_302_845_120_000
"""Key of the lock that is held while the shared lineage is migrated."""

BOOTSTRAP: Final = 7_302_845_120_002
"""Held by a process that bootstraps the server."""

KEEPERS: Final = 7_302_845_120_001
"""Key of the lock that is held while a keeper is added."""

WARM_POOL: Final = 7_302_845_120_003
"""Key of the lock that is held while a schema is added to the warm pool, or taken from what is too much."""


def tenant(parameter: str) -> str:
    """Return the SQL of a tenant's key. Its lock is held to provision, migrate or drop the tenant's schema.

    Args:
        parameter: the SQL expression for the tenant's id as text.
    """
    return f"hashtextextended({parameter}, 0)"


_TENANT: Final = tenant("$1::text")


async def try_tenant(connection: Connection, tenant_id: UUID) -> bool:
    """Take a tenant's lock until the transaction ends. Return False if another session holds the lock."""
    return bool(await connection.fetchval(f"SELECT pg_try_advisory_xact_lock({_TENANT})", str(tenant_id)))


MESSAGE: Final = "hashtextextended($2::text, 1)"
"""The SQL of a message's key; $2 is the message's id.

The lock is held from before an attempt's first transaction until after its last.
"""

WAITS_AT_MOST: Final = "(SELECT set_config('lock_timeout', $1, true)) IS NOT NULL"
"""An SQL condition that is always true and sets ``lock_timeout`` to $1 milliseconds, given as text.

It is evaluated before the first row (InitPlan), and saves the three round trips of a transaction around
the statement.
"""
