"""Online runs: revisions that must see data, or cannot run in a transaction, on an existing schema.

Alembic runs them on a separate connection, which holds the tenant's advisory lock for the session, because
a revision may commit. Each revision is a transaction of its own, together with its grants, registry entry
and event, so that a run that was interrupted goes on where it stopped.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final
from uuid import UUID

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext, RevisionStep
from sqlalchemy import Connection as SyncConnection
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from db import names
from db.ledger.contracts import Migrated
from db.migrations.lineage import Lineage
from db.migrations.render import is_online
from db.migrations.run import MigrationError, record_revision
from db.server import roles
from db.session import locks
from db.session.connection import SESSION, Connection
from db.tenants import registry
from db.tenants.registry import Tenant

_KEY: Final = locks.tenant(":id")
_LOCK: Final = f"SELECT pg_try_advisory_lock({_KEY})"
_UNLOCK: Final = f"SELECT pg_advisory_unlock({_KEY})"


class Online:
    """Runs online revisions, one schema at a time, because all of a process shares one `alembic.op`.

    Args:
        url: the address of the owner.
        lineage: the tenants' lineage.
        lock_timeout: most seconds that DDL waits for a table's lock.
    """

    def __init__(self, url: str, lineage: Lineage, *, lock_timeout: float) -> None:
        self._url = make_url(url).set(drivername="postgresql+asyncpg")
        self._lineage = lineage
        self._lock_timeout = lock_timeout
        self._one_at_a_time = asyncio.Lock()

    def needed(self, start: str, end: str) -> bool:
        """Return True if a revision after ``start`` up to ``end`` must run online."""
        return any(is_online(script.module) for script in self._lineage.path(start, end))

    async def upgrade(self, tenant: Tenant, end: str, *, caused_by: UUID | None = None) -> bool:
        """Bring a tenant's schema from its revision to ``end``.

        Args:
            tenant: the tenant whose schema to upgrade.
            end: the revision to reach.
            caused_by: the id of the command that asked for the upgrade.

        Returns:
            False if another session holds the tenant's lock.

        Raises:
            asyncpg.PostgresError: a statement failed. Earlier revisions stay applied.
        """
        async with self._one_at_a_time:
            try:
                async with self._connected(tenant) as connection:
                    if not await connection.scalar(text(_LOCK).bindparams(id=str(tenant.id))):
                        return False
                    await connection.commit()
                    await connection.run_sync(self._run, tenant, end, caused_by)
                    # Unlock now, because the server may notice the session's end too late.
                    await connection.execute(text(_UNLOCK).bindparams(id=str(tenant.id)))
            except DBAPIError as error:
                if error.orig is not None and error.orig.__cause__ is not None:
                    raise error.orig.__cause__ from error  # asyncpg's error, by which failures are classified
                raise
        return True

    def _run(self, connection: SyncConnection, tenant: Tenant, end: str, caused_by: UUID | None) -> None:
        def steps(heads: Any, _: MigrationContext) -> Iterable[RevisionStep]:
            return self._lineage.script._upgrade_revs(end, heads)  # noqa: SLF001 - as alembic.command does

        context = MigrationContext.configure(
            connection=connection,
            opts={
                "script": self._lineage.script,
                "fn": steps,
                "transaction_per_migration": True,
                "on_version_apply": (partial(self._applied, tenant=tenant, caused_by=caused_by),),
            },
        )
        with Operations.context(context), context.begin_transaction():
            context.run_migrations()

    def _applied(
        self, *, ctx: MigrationContext, heads: set[str], tenant: Tenant, caused_by: UUID | None, **_: Any
    ) -> None:
        """Grant the role its rights, and write registry and event, in the transaction of the applied revision."""
        (revision,) = heads

        async def record(connection: Connection) -> None:
            await roles.grant_schema(connection, tenant.schema_name)
            await migrated(connection, tenant.id, self._lineage, revision, caused_by=caused_by)

        assert ctx.connection is not None  # an online run
        driver: Any = ctx.connection.connection.dbapi_connection
        driver.run_async(record)

    @asynccontextmanager
    async def _connected(self, tenant: Tenant) -> AsyncIterator[AsyncConnection]:
        engine = create_async_engine(
            self._url,
            poolclass=NullPool,
            connect_args={
                "server_settings": {
                    **SESSION,
                    "search_path": f"{names.quoted(tenant.schema_name)}, pg_temp",
                    "lock_timeout": str(round(self._lock_timeout * 1000)),
                }
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
    locked = await registry.lock(connection, tenant_id)
    if locked is None:
        raise MigrationError(f"no tenant {tenant_id}")
    await record_revision(connection, tenant_id, lineage, revision)
    touched = await registry.touch(connection, locked)
    await registry.tell(connection, touched, Migrated(tenant_id, touched.slug, revision), caused_by=caused_by)
