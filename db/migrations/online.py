"""Online runs: revisions that must see data, or cannot run in a transaction, on an existing schema.

Alembic runs them on a separate connection, which holds the tenant's advisory lock for the session, because
a revision may commit. Each revision is a transaction of its own, together with its grants, registry entry
and event, so that a run that was interrupted goes on where it stopped.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from db.ledger.contracts import Migrated
from db.migrations.lineage import Lineage
from db.migrations.move import driver, move
from db.migrations.render import is_online
from db.migrations.run import MigrationError, current_revision
from db.session import address, locks
from db.session.connection import SESSION, Connection, migration_path
from db.tenants import registry
from db.tenants.registry import Tenant

_KEY: Final = locks.tenant(":id")
_LOCK: Final = f"SELECT pg_try_advisory_lock({_KEY})"
_UNLOCK: Final = f"SELECT pg_advisory_unlock({_KEY})"
_TURN: Final = 1.0
"""Seconds that a run waits for its turn. It waits at all, so that runs are not turned away in quick succession."""


class Online:
    """Runs online revisions, one schema at a time, because all of a process shares one `alembic.op`.

    Args:
        url: the address of the owner.
        lineage: the tenants' lineage.
        lock_timeout: most seconds that DDL waits for a table's lock.
    """

    def __init__(self, url: str, lineage: Lineage, *, lock_timeout: float) -> None:
        self._url = url
        self._lineage = lineage
        self._lock_timeout = lock_timeout
        self._one_at_a_time = asyncio.Lock()

    def needed(self, start: str, end: str) -> bool:
        """Return True if a revision after ``start`` up to ``end`` must run online."""
        return any(is_online(script.module) for script in self._lineage.path(start, end))

    async def upgrade(
        self,
        tenant: Tenant,
        end: str,
        begun: Callable[[], Awaitable[None]] | None = None,
        *,
        caused_by: UUID | None = None,
    ) -> bool:
        """Bring a tenant's schema from its revision to ``end``.

        Args:
            tenant: the tenant whose schema to upgrade.
            end: the revision to reach.
            begun: called once the tenant is locked, before anything is changed.
            caused_by: the id of the command that asked for the upgrade.

        Returns:
            False if another session holds the tenant's lock, or another run of this process goes on.

        Raises:
            asyncpg.PostgresError: a statement failed. Earlier revisions stay applied.
        """
        try:
            async with asyncio.timeout(_TURN):
                await self._one_at_a_time.acquire()
        except TimeoutError:
            return False
        try:
            async with self._connected(tenant) as connection:
                if not await connection.scalar(text(_LOCK).bindparams(id=str(tenant.id))):
                    return False
                await connection.commit()
                if begun is not None:
                    await begun()
                await self._move(connection, tenant, end, caused_by)
                # Unlock now, because the server may notice the session's end too late.
                await connection.execute(text(_UNLOCK).bindparams(id=str(tenant.id)))
        except DBAPIError as error:
            if error.orig is not None and error.orig.__cause__ is not None:
                raise error.orig.__cause__ from error  # asyncpg's error, by which failures are classified
            raise
        finally:
            self._one_at_a_time.release()
        return True

    async def _move(
        self, connection: AsyncConnection, tenant: Tenant, end: str, caused_by: UUID | None
    ) -> None:
        async def record(raw: Connection, revision: str | None) -> None:
            assert revision is not None  # an upgrade
            await migrated(raw, tenant.id, self._lineage, revision, caused_by=caused_by)

        current = await current_revision(await driver(connection), tenant.schema_name)
        await move(connection, self._lineage, tenant.schema_name, "upgrade", current, end, record)

    @asynccontextmanager
    async def _connected(self, tenant: Tenant) -> AsyncIterator[AsyncConnection]:
        engine = address.engine(
            self._url,
            {
                **SESSION,
                "search_path": migration_path(tenant.schema_name),
                "lock_timeout": str(round(self._lock_timeout * 1000)),
            },
        )
        try:
            async with engine.connect() as connection:
                yield connection
        finally:
            await engine.dispose()


async def migrated(
    connection: Connection, tenant_id: UUID, lineage: Lineage, revision: str, *, caused_by: UUID | None
) -> None:
    """Write to the registry and the ledger that a tenant's schema is now at ``revision``.

    Args:
        connection: in the transaction of the migration.
        tenant_id: the tenant's id.
        lineage: the tenants' lineage.
        revision: the schema's revision.
        caused_by: the id of the command that asked for the migration, if there is one.

    Raises:
        MigrationError: the registry has no such tenant.
    """
    tenant = await registry.reached(connection, tenant_id, revision, lineage.compatible_from(revision))
    if tenant is None:
        raise MigrationError(f"no tenant {tenant_id}")
    await registry.tell(connection, tenant, Migrated(tenant_id, tenant.slug, revision), caused_by=caused_by)
