"""Failures of a tenant transaction: what it means when PostgreSQL or asyncpg raises."""

from typing import Final

import asyncpg

from db.errors import TenantryError


class UnavailableError(TenantryError):
    """No connection to PostgreSQL was available in time, or the connection was lost."""

    kind = "unavailable"


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


def in_words(error: BaseException) -> str:
    """Return what a person can do about an error while connecting; other errors in their own words."""
    match error:
        case asyncpg.InvalidCatalogNameError():
            return (
                f"{error}: the address must end with the name of one that does; `litestar bootstrap` makes it"
            )
        case asyncpg.InvalidPasswordError():
            return f"{error}: the password in the address is wrong, or the login does not exist"
        case asyncpg.TooManyConnectionsError():
            return f"{error}: others have all connections; raise max_connections, or lower POOL_SIZE"
        case TimeoutError():
            return "no answer in time: nothing may be listening at the address, or a firewall is in between"
        case _:
            return str(error) or type(error).__name__


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
