"""The schemas of a database, for Alembic's commands: which there are, and a locked connection to each."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec
from alembic.util import CommandError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from db.migrations.lineage import Lineage, LineageName
from db.migrations.lineages import lineage
from db.migrations.move import driver
from db.migrations.run import current_revision
from db.session import address, locks, pooler
from db.session.connection import SESSION, migration_path
from db.settings import Settings
from db.tenants import lists


class Target(msgspec.Struct, frozen=True):
    """A schema to run a command on.

    Args:
        lineage: the lineage of its revisions.
        schema: its name.
        label: what people call it: the tenant's slug, or ``shared``.
        revision: the revision that the registry knows; that of ``shared`` itself.
        tenant_id: the tenant's id, or None.
    """

    lineage: LineageName
    schema: str
    label: str
    revision: str | None = None
    tenant_id: UUID | None = None


def search_path(schema: str) -> str:
    """Return the search path of a command on a schema."""
    # The shared lineage names its schema, and autogenerate needs it not to be the default schema.
    return "pg_catalog" if schema == "shared" else migration_path(schema)


class Schemas:
    """The schemas of the database of ``OWNER_DATABASE_URL``.

    Args:
        settings: the settings.
        alembic_config: Alembic's configuration file, with which the command was given.

    Raises:
        SettingsError: there is no address.
    """

    def __init__(self, settings: Settings, alembic_config: Path) -> None:
        self._settings = settings
        self._alembic_config = alembic_config
        self._url = settings.require("owner_database_url")

    def lineage(self, name: LineageName) -> Lineage:
        """Return a checked lineage.

        Raises:
            LineageError: a revision cannot be run.
        """
        return lineage(name, self._alembic_config)

    async def shared(self) -> Target:
        async with self.connected("shared") as connection:
            revision = await current_revision(await driver(connection), "shared")
        return Target("shared", "shared", "shared", revision)

    async def tenant(self, slug: str) -> Target:
        """Return the schema of one tenant.

        Raises:
            CommandError: there is no such tenant, or it has no schema.
        """
        for target in await self.tenants(slug):
            return target
        raise CommandError(f"no tenant {slug!r} with a schema")

    async def tenants(self, slug: str | None = None) -> list[Target]:
        """Return the schemas of all tenants, deleted ones that can be restored too, in the order of slugs."""
        async with self.connected("shared") as connection:
            if await connection.scalar(text("SELECT to_regclass('shared.tenants')")) is None:
                return []
            tenants = await lists.list_with_schema(await driver(connection), slug)
        return [
            Target("tenant", tenant.schema_name, tenant.slug, tenant.revision, tenant.id)
            for tenant in tenants
        ]

    async def session(self) -> pooler.Plain:
        """Return a connection as the owner for one tenant after the other; it is not in a transaction.

        Raises:
            CommandError: PostgreSQL cannot be reached.
        """
        try:
            return await address.connect(self._url, server_settings=self._session_settings)
        except OSError as error:
            raise CommandError(f"PostgreSQL cannot be reached: {error}") from error

    @property
    def _session_settings(self) -> dict[str, str]:
        timeout = round(self._settings.migration_lock_timeout * 1000)
        return {**SESSION, "lock_timeout": str(timeout)}

    @asynccontextmanager
    async def connected(self, schema: str) -> AsyncIterator[AsyncConnection]:
        """Connect as the owner with ``schema`` as the search path.

        Raises:
            CommandError: PostgreSQL cannot be reached.
        """
        engine = address.engine(self._url, {**self._session_settings, "search_path": search_path(schema)})
        try:
            connection = await engine.connect()
        except OSError as error:
            await engine.dispose()
            raise CommandError(f"PostgreSQL cannot be reached: {error}") from error
        try:
            yield connection
        finally:
            await connection.close()
            await engine.dispose()

    @asynccontextmanager
    async def locked(self, target: Target) -> AsyncIterator[AsyncConnection]:
        """Connect, and hold the target's lock for the session, across a revision's own commits too.

        Raises:
            CommandError: somebody else works on the schema, or PostgreSQL cannot be reached.
        """
        wait = self._settings.tenant_lock_wait
        key = str(locks.SHARED) if target.tenant_id is None else locks.tenant(":id")
        statement = text(f"SELECT pg_advisory_lock({key})")
        if target.tenant_id is not None:
            statement = statement.bindparams(id=str(target.tenant_id))
        async with self.connected(target.schema) as connection:
            await connection.execute(text(f"SET lock_timeout = {round(wait * 1000)}"))
            try:
                await connection.execute(statement)
            except DBAPIError as error:
                if not isinstance(error.orig and error.orig.__cause__, asyncpg.LockNotAvailableError):
                    raise
                raise CommandError(f"it is being worked on; gave up after {wait:g} s") from error
            await connection.execute(text("RESET lock_timeout"))
            await connection.commit()
            yield connection
