"""Bootstrap: preparing a PostgreSQL server for Tenantry, as a superuser. Safe to repeat."""

import asyncio
import logging
from functools import partial
from typing import Final

import asyncpg
import msgspec

from db.audit import By
from db.control import tokens as control_tokens
from db.errors import TenantryError
from db.migrations import structures
from db.migrations.lineages import lineage
from db.migrations.run import upgrade_shared
from db.names import literal, quoted
from db.server import (
    citus,
    contention,
    extensions,
    hardening,
    installation,
    ownership,
    repair,
    roles,
    version,
)
from db.server.installation import Installation
from db.session import address, locks
from db.session.connection import EXTENSIONS, Connection
from db.settings import Settings
from db.tenants import tokens

log = logging.getLogger(__name__)

_QUIET: Final = """
SELECT set_config(p.name, p.value, true)
FROM (VALUES ('log_min_error_statement', 'panic'), ('log_statement', 'none'), ('log_min_duration_statement', '-1'))
  AS p (name, value)
WHERE has_parameter_privilege(current_user, p.name, 'SET')
"""
"""Keeps statements with passwords out of the server's log until the transaction ends."""

_PAUSES: Final = (1, 2, 4, 8)
"""Seconds between the tries at ``shared`` while somebody uses its tables."""


class InstallationError(TenantryError):
    """The database belongs to another installation."""


class Bootstrapped(msgspec.Struct, frozen=True):
    """The addresses of the bootstrapped database for the owner and for the API's login, and what was mended.

    Args:
        owner_url: the owner's address.
        app_url: the address of the API's login.
        adopted: how many objects were not the owner's.
        mended: how many tenants lacked their role or its rights.
    """

    owner_url: str
    app_url: str
    adopted: int = 0
    mended: int = 0

    def __repr__(self) -> str:
        return "Bootstrapped(...)"  # the addresses hold passwords


async def bootstrap(
    superuser_url: str,
    *,
    owner_password: str,
    app_password: str,
    settings: Settings | None = None,
    harden: bool = True,
) -> Bootstrapped:
    """Make the logins, install extensions, harden the database, make a keeper and migrate the shared lineage.

    Where Citus is installed, also set the database up for it. In a database that was restored from a dump, also
    make the owner own it, and the tenants' roles again.

    Args:
        superuser_url: a superuser's address of the database, which is created if it does not exist.
        owner_password: the new password of the owner.
        app_password: the new password of the API's login.
        settings: the prefix of the roles, the time-outs of the API's login, and Alembic's configuration file.
        harden: whether to run the hardening; a managed server may refuse it.

    Raises:
        UnsupportedServerError: PostgreSQL is too old, or the database is not in UTF8.
        ExtensionError: an extension cannot be installed.
        InstallationError: the database is another installation's.
        ForeignRoleError: roles of tenants are not this installation's.
    """
    settings = settings or Settings()
    await contention.retried(partial(_create_database, superuser_url))
    connection = await address.connect(superuser_url)
    try:
        await version.check(connection)
        await version.check_encoding(connection)
        ours = await installation.of(connection, settings.role_prefix)
        await _check_installation(connection, ours)

        async def prepare() -> None:
            async with connection.transaction():
                await connection.execute(f"SELECT pg_advisory_xact_lock({locks.BOOTSTRAP})")
                await _logins(connection, ours, owner_password, app_password, settings)
                await prepare_database(connection, settings.role_prefix, harden=harden)

        # The lock is the database's and roles are the cluster's: another database's bootstrap may be at them.
        await contention.retried(prepare)
        adopted = await ownership.adopt(connection, ours.owner)
    finally:
        await connection.close()
    owner_url = with_login(superuser_url, ours.owner, owner_password)
    await migrate_shared(owner_url, settings, regrant=True)
    await _store_structures(owner_url, settings)
    return Bootstrapped(
        owner_url, with_login(superuser_url, ours.app, app_password), adopted, await _mended(owner_url)
    )


async def prepare_database(connection: Connection, prefix: str | None = None, *, harden: bool = True) -> None:
    """Grant the logins their rights on the connection's database, install its extensions, and harden it.

    Where Citus is installed, also set it up.

    Each database needs this once, because a clone does not get the rights on the original.

    Args:
        connection: of a superuser, in a transaction where Citus is installed.
        prefix: what the names of the logins begin with; None for the default.
        harden: whether to run the hardening.

    Raises:
        ExtensionError: an extension cannot be installed.
    """
    ours = await installation.of(connection, prefix)
    database = quoted(await connection.fetchval("SELECT current_database()"))
    await ours.execute(
        connection,
        (
            f"REVOKE ALL ON DATABASE {database} FROM PUBLIC",
            f"GRANT CONNECT, CREATE ON DATABASE {database} TO {quoted(ours.owner)}",
            f"GRANT CONNECT ON DATABASE {database} TO {quoted(ours.app)}",
        ),
    )
    if ours.citus:
        await citus.prepare(connection, ours)
    await extensions.prepare(connection, extensions.WANTED, ours.owner)
    if harden:
        await hardening.harden(connection, ours)


async def migrate_shared(owner_url: str, settings: Settings, *, regrant: bool = False) -> str:
    """Make a keeper if there is none, install extensions, migrate ``shared`` to its head, and return the revision.

    Args:
        owner_url: the address of the owner.
        settings: Alembic's configuration file.
        regrant: whether to grant the API's login its rights again even if there is nothing to migrate.

    Raises:
        UnsupportedServerError: PostgreSQL is too old, or the database is not in UTF8.
        ExtensionError: an extension is missing, and the owner may not install it.
        asyncpg.LockNotAvailableError: tables of ``shared`` were in use, however often it was tried.
    """
    connection = await address.connect(owner_url)
    try:
        await version.check(connection)
        await version.check_encoding(connection)
        async with connection.transaction():
            await roles.keeper(connection)
            owner = (await installation.of(connection)).owner
            await extensions.prepare(connection, extensions.WANTED, owner)
        return await _migrated(connection, settings, regrant=regrant)
    finally:
        await connection.close()


async def _migrated(connection: Connection, settings: Settings, *, regrant: bool) -> str:
    chain, timeout = lineage("shared", settings.alembic_config), settings.migration_lock_timeout
    for pause in _PAUSES:
        try:
            return await upgrade_shared(connection, chain, lock_timeout=timeout, regrant=regrant)
        except asyncpg.LockNotAvailableError:
            log.warning("tables of shared are in use; trying again in %d s", pause)
            await asyncio.sleep(pause)
    return await upgrade_shared(connection, chain, lock_timeout=timeout, regrant=regrant)


async def _store_structures(owner_url: str, settings: Settings) -> None:
    """Store what schemas of each revision look like, which provisioners do as well after they have started."""
    connection = await address.connect(owner_url)
    try:
        await structures.store(connection, lineage("tenant", settings.alembic_config))
    finally:
        await connection.close()


async def _mended(owner_url: str) -> int:
    connection = await address.connect(owner_url)
    try:
        return await repair.mend(connection)
    finally:
        await connection.close()


async def mint_operator(owner_url: str, name: str, by: By) -> str:
    """Mint an operator's token with all scopes, and return its text.

    Args:
        owner_url: the address of the owner.
        name: the operator's name.
        by: who mints the token.
    """
    connection = await address.connect(owner_url)
    try:
        async with connection.transaction():
            token = await control_tokens.mint(connection, by, name=name)
    finally:
        await connection.close()
    return token.text


async def has_operator(owner_url: str) -> bool:
    """Return True if there is an operator's token that is neither revoked nor expired."""
    connection = await address.connect(owner_url)
    try:
        return await tokens.has_operator(connection)
    finally:
        await connection.close()


def with_login(url: str, user: str, password: str) -> str:
    """Return ``url`` with another user and password."""
    return address.with_login(url, user, password)


async def _create_database(superuser_url: str) -> None:
    name = address.database(superuser_url)
    connection = await address.connect(address.with_database(superuser_url, "postgres"))
    try:
        if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
            await connection.execute(f"CREATE DATABASE {quoted(name)} TEMPLATE template0 ENCODING 'UTF8'")
    except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
        pass  # another process has created it meanwhile
    finally:
        await connection.close()


async def _check_installation(connection: Connection, ours: Installation) -> None:
    """Check that the database is not another installation's, whose objects would change hands.

    Raises:
        InstallationError: it is.
    """
    owner = await connection.fetchval(
        "SELECT nspowner::regrole::text FROM pg_catalog.pg_namespace WHERE nspname = 'shared'"
    )
    if owner is not None and owner != ours.owner and owner.endswith("_owner"):
        raise InstallationError(
            f"this database is {owner}'s: set ROLE_PREFIX={owner.removesuffix('_owner')}, or use another database"
        )


async def _logins(
    connection: Connection, ours: Installation, owner_password: str, app_password: str, settings: Settings
) -> None:
    for role in (ours.owner, ours.app):
        if not await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role):
            await connection.execute(f"CREATE ROLE {quoted(role)}")
    await connection.execute(_QUIET)
    # The owner needs CREATEROLE only to add keepers. NOINHERIT keeps tenants' rights from the API's login.
    app = {
        "search_path": EXTENSIONS,
        "statement_timeout": _milliseconds(settings.statement_timeout),
        "lock_timeout": _milliseconds(settings.lock_timeout),
        "idle_in_transaction_session_timeout": _milliseconds(settings.idle_in_transaction_timeout),
    }
    no_more = "NOSUPERUSER NOCREATEDB NOREPLICATION NOBYPASSRLS"
    await ours.execute(
        connection,
        (
            f"ALTER ROLE {quoted(ours.owner)} LOGIN INHERIT CREATEROLE {no_more} PASSWORD {literal(owner_password)}",
            f"ALTER ROLE {quoted(ours.app)} LOGIN NOINHERIT NOCREATEROLE {no_more} PASSWORD {literal(app_password)}",
            *hardening.login_settings({"search_path": EXTENSIONS}, ours.owner),
            *hardening.login_settings(app, ours.app),
        ),
    )


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
