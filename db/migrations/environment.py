"""The code behind ``alembic/env.py``: Alembic commands on one tenant, the shared lineage, or all schemas.

This is Alembic's online path for people at a shell, one schema at a time. It takes the same advisory lock
as the provisioner. With each revision it updates the grants and the registry and writes the event.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final
from uuid import UUID

import msgspec
from alembic.runtime.environment import EnvironmentContext
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from db import (
    domain,  # noqa: F401 - its tables join the metadata
    names,
)
from db.migrations.lineage import ALIASES, LineageName, UnknownRevisionError, lineage, narrow
from db.migrations.online import migrated
from db.migrations.render import render
from db.migrations.run import current_revision, record_revision
from db.models import access  # noqa: F401
from db.models.base import Base
from db.models.shared import Shared
from db.server import rights, roles
from db.session import locks
from db.session.connection import SESSION
from db.settings import Settings, SettingsError
from db.tenants import lists

METADATA: Final[dict[LineageName, MetaData]] = {"shared": Shared.metadata, "tenant": Base.metadata}
_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off", ""})


class Target(msgspec.Struct, frozen=True):
    """A schema to run a command on."""

    lineage: LineageName
    schema: str
    label: str
    tenant_id: UUID | None = None


class Arguments(msgspec.Struct, frozen=True):
    """The ``-x`` arguments."""

    tenant: str | None
    dry_run: bool

    @classmethod
    def read(cls, given: Mapping[str, str]) -> "Arguments":
        """Return the arguments in ``given``.

        Raises:
            CommandError: an argument is unknown, or has an invalid value.
        """
        unknown = sorted(set(given) - {"tenant", "dry_run"})
        if unknown:
            raise CommandError(f"-x {unknown[0]}: unknown; known are tenant and dry_run")
        flag = given.get("dry_run", "false").casefold()
        if flag not in _TRUE | _FALSE:
            raise CommandError(f"-x dry_run={given['dry_run']}: expected True or False")
        return cls(tenant=names.folded(given.get("tenant", "")) or None, dry_run=flag in _TRUE)


async def run(
    environment: EnvironmentContext, given: Mapping[str, str], load: Callable[[], Settings]
) -> None:
    """Run the command that Alembic has prepared.

    Args:
        environment: Alembic's environment.
        given: the ``-x`` arguments.
        load: reads the settings; called only if a database is needed.

    Raises:
        CommandError: the command cannot run, or failed; the message is for the person at the shell.
    """
    arguments = Arguments.read(given)
    command = environment.context_opts["fn"].__name__
    try:
        if environment.is_offline_mode():
            _print_sql(environment, "shared" if arguments.tenant in ALIASES else "tenant")
        elif command == "retrieve_migrations":
            await _Fleet(environment, load()).compare(arguments)
        else:
            await _Fleet(environment, load()).apply(command, arguments)
    except SettingsError as error:
        raise CommandError(str(error)) from error


def _print_sql(environment: EnvironmentContext, name: LineageName, start: str | None = None) -> None:
    """Print a command's SQL in Alembic's offline mode, with the dialect of the online run."""
    narrow(environment.script, name)
    environment.configure(
        dialect_name="postgresql+asyncpg",
        as_sql=True,
        starting_rev=start,
        literal_binds=True,
        version_table_schema="shared" if name == "shared" else None,
    )
    with environment.begin_transaction():
        environment.run_migrations()


class _Fleet:
    """The schemas of a database, for one Alembic command."""

    def __init__(self, environment: EnvironmentContext, settings: Settings) -> None:
        self.environment = environment
        self.settings = settings
        self.url = make_url(settings.require("owner_database_url")).set(drivername="postgresql+asyncpg")
        self.lineages = {name: lineage(name, settings.alembic_config) for name in ("shared", "tenant")}

    async def apply(self, command: str, arguments: Arguments) -> None:
        """Run a command on each of its schemas. If one fails, go on with the others and raise at the end."""
        destination = self.environment.context_opts.get("destination_rev")
        failures: list[str] = []
        targets = await self._targets(command, destination, arguments)
        for target in targets:
            try:
                await self._run(target, dry_run=arguments.dry_run)
            except (CommandError, DBAPIError) as error:
                if len(targets) == 1:
                    raise CommandError(_words(error)) from error
                failures.append(f"{target.label}: {_words(error)}")
        if failures:
            raise CommandError(f"{len(failures)} of {len(targets)} failed:\n  " + "\n  ".join(failures))

    async def compare(self, arguments: Arguments) -> None:
        """Make a new revision. Autogenerate compares the models with the schema at head.

        The tenant lineage is built in a scratch schema, which is rolled back.
        """
        name: LineageName = "shared" if arguments.tenant in ALIASES else "tenant"
        if arguments.tenant and name == "tenant":
            raise CommandError("a revision is for all tenants: leave -x tenant out, or say -x tenant=shared")
        script = render(self.lineages[name], None, self.lineages[name].head)
        scratch = names.new_schema_name()
        async with self._connect("shared" if name == "shared" else scratch) as connection:
            if name == "tenant":
                raw = await _raw(connection)
                await connection.execute(text("SELECT 1"))  # makes SQLAlchemy begin its transaction
                await raw.execute(f"CREATE SCHEMA {names.quoted(scratch)};{script.sql}")
            await connection.run_sync(self._alembic, Target(name, scratch, name))
            await connection.rollback()

    async def _targets(self, command: str, destination: str | None, arguments: Arguments) -> list[Target]:
        shared = Target("shared", "shared", "shared")
        if arguments.tenant in ALIASES:
            return [shared]
        if arguments.tenant is not None:
            return [await self._tenant(arguments.tenant)]
        if command == "do_stamp":
            raise CommandError("stamp one schema at a time: -x tenant=SLUG or -x tenant=shared")
        if destination and destination not in {"head", "heads"} and self._shared_knows(destination):
            return [shared]
        if command == "downgrade" or destination not in {None, "head", "heads"}:
            return await self._tenants()
        if command == "upgrade" and not arguments.dry_run:
            await self._run(shared, dry_run=False)  # the registry must exist before it is read
            return await self._tenants()
        return [shared, *await self._tenants()]

    def _shared_knows(self, revision: str) -> bool:
        try:
            self.lineages["shared"].resolve(revision)
        except UnknownRevisionError:
            return False
        return True

    async def _tenant(self, slug: str) -> Target:
        for target in await self._tenants(slug):
            return target
        raise CommandError(f"no tenant {slug!r} with a schema")

    async def _tenants(self, slug: str | None = None) -> list[Target]:
        async with self._connect("shared") as connection:
            if await connection.scalar(text("SELECT to_regclass('shared.tenants')")) is None:
                return []
            tenants = await lists.list_with_schema(await _raw(connection), slug)
            return [Target("tenant", tenant.schema_name, tenant.slug, tenant.id) for tenant in tenants]

    async def _run(self, target: Target, *, dry_run: bool) -> None:
        if dry_run:
            async with self._connect(target.schema) as connection:
                start = await current_revision(await _raw(connection), target.schema)
            self.environment.config.print_stdout("-- %s, at %s", target.label, start or "base")
            _print_sql(self.environment, target.lineage, start or "base")
            return
        async with self._connect(target.schema, target) as connection:
            await connection.run_sync(self._alembic, target)
            await connection.commit()

    def _alembic(self, connection: Connection, target: Target) -> None:
        """Run the prepared command on one schema. The connection's ``search_path`` must be that schema."""
        narrow(self.environment.script, target.lineage)
        chain = self.lineages[target.lineage]
        if target.lineage == "tenant" and self.environment.context_opts["fn"].__name__.startswith("display"):
            self.environment.config.print_stdout("%s:", target.label)
        self.environment.configure(
            connection=connection,
            target_metadata=METADATA[target.lineage],
            version_table_schema="shared" if target.lineage == "shared" else None,
            include_schemas=target.lineage == "shared",
            include_name=_only_shared if target.lineage == "shared" else None,  # type: ignore[arg-type]
            compare_server_default=True,
            # One transaction for all revisions, unless one of them must run online.
            transaction_per_migration=any(getattr(s.module, "online", False) for s in chain.revisions),
            on_version_apply=partial(self._record, target=target),
        )
        with self.environment.begin_transaction():
            self.environment.run_migrations()

    def _record(self, *, ctx: Any, heads: set[str], target: Target, **_: Any) -> None:
        """Update grants and registry, and write the event, in the transaction of the applied revision."""
        revision = next(iter(heads), None)
        chain = self.lineages[target.lineage]

        async def record(connection: Any) -> None:
            if target.tenant_id is None:
                await rights.grant_shared(connection)
            else:
                await roles.grant_schema(connection, names.schema_name(target.schema))
                if revision is None:  # base: no event, because it would have no revision
                    await record_revision(connection, target.tenant_id, chain, revision)
                else:
                    await migrated(connection, target.tenant_id, chain, revision, caused_by=None)

        ctx.connection.connection.dbapi_connection.run_async(record)

    @asynccontextmanager
    async def _connect(self, schema: str, locked: Target | None = None) -> AsyncIterator[AsyncConnection]:
        """Connect as the owner with ``schema`` as the search path, and lock the target ``locked``, if given."""
        # The shared lineage names its schema, and autogenerate needs it not to be the default schema.
        path = "pg_catalog" if schema == "shared" else schema
        engine = create_async_engine(
            self.url,
            poolclass=NullPool,
            connect_args={"server_settings": {**SESSION, "search_path": names.quoted(path)}},
        )
        try:
            async with engine.connect() as connection:
                if locked:
                    await self._lock(connection, locked)
                yield connection
        except OSError as error:
            raise CommandError(f"PostgreSQL cannot be reached: {error}") from error
        finally:
            await engine.dispose()

    async def _lock(self, connection: AsyncConnection, target: Target) -> None:
        """Take the target's lock for the session, so that it is held across a revision's own commits."""
        wait = int(self.settings.tenant_lock_wait * 1000)
        ddl_wait = int(self.settings.migration_lock_timeout * 1000)
        key = str(locks.SHARED) if target.tenant_id is None else locks.tenant(":id")
        await connection.execute(text(f"SET lock_timeout = {wait}"))
        try:
            statement = text(f"SELECT pg_advisory_lock({key})")
            if target.tenant_id is not None:
                statement = statement.bindparams(id=str(target.tenant_id))
            await connection.execute(statement)
        except DBAPIError as error:
            raise CommandError(
                f"{target.label} is being worked on; gave up after {self.settings.tenant_lock_wait:g} s"
            ) from error
        await connection.execute(text(f"SET lock_timeout = {ddl_wait}"))
        await connection.commit()


async def _raw(connection: AsyncConnection) -> Any:
    """Return the asyncpg connection below SQLAlchemy's."""
    driver = await connection.get_raw_connection()
    assert driver.driver_connection is not None  # the connection is open
    return driver.driver_connection


def _only_shared(name: str | None, kind: str, _: Mapping[str, Any]) -> bool:
    return kind != "schema" or name == "shared"


def _words(error: Exception) -> str:
    return str(error.orig if isinstance(error, DBAPIError) else error)
