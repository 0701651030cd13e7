"""Failures of a tenant transaction: what it means when PostgreSQL or asyncpg raises."""

from typing import Final

import asyncpg

from db.errors import TenantryError


class NoRoleError(TenantryError):
    """The tenant has no role: it was purged since it was looked up."""

    kind = "tenant-not-ready"


NOT_AS_EXPECTED: Final = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedObjectError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.DatatypeMismatchError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.InsufficientPrivilegeError,
    NoRoleError,
)
"""Errors of a statement in a tenant transaction that mean the schema, or a right in it, is not as expected.

The schema was migrated, replaced or dropped since the tenant was looked up, or the statement is wrong.
"""

GONE: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ConnectionError,
)
"""Errors that mean the connection was lost, or that PostgreSQL is out of resources."""
