"""Commands that Alembic itself runs on a schema: ``current``, ``stamp``, ``check``, ``revision``."""

import importlib.util
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from alembic.runtime.environment import EnvironmentContext
from alembic.script import write_hooks
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db import (
    domain,  # noqa: F401 - its tables join the metadata
    names,
)
from db.migrations.arguments import Arguments
from db.migrations.comparison import compare_defaults, included, partitions
from db.migrations.lineage import Lineage, LineageName, narrow
from db.migrations.move import driver
from db.migrations.online import migrated
from db.migrations.render import render
from db.migrations.run import record_revision
from db.migrations.schemas import Schemas, Target, search_path
from db.models import (
    access,  # noqa: F401
    ledger,
    rollouts,  # noqa: F401
)
from db.models.base import Base
from db.server import installation, rights

METADATA: Final[dict[LineageName, MetaData]] = {
    "shared": ledger.LedgerMessage.metadata,
    "tenant": Base.metadata,
}


async def run_on(environment: EnvironmentContext, connection: AsyncConnection, target: Target) -> None:
    """Run the command that Alembic has prepared on one schema.

    Args:
        environment: Alembic's environment.
        connection: of the owner, not in a transaction. Its ``search_path`` becomes the schema.
        target: the schema.
    """
    if target.lineage == "tenant":
        environment.config.print_stdout("%s:", target.label)
    try:
        await connection.execute(text(f"SET search_path TO {search_path(target.schema)}"))
        await connection.commit()  # Alembic commits what it has begun itself
        await connection.run_sync(_run, environment, target, ())
    finally:
        await connection.rollback()


async def stamp_shared(environment: EnvironmentContext, schemas: Schemas, target: Target) -> None:
    """Run the stamp of ``shared`` that Alembic has prepared, and grant the API's login its rights.

    Args:
        environment: Alembic's environment.
        schemas: the schemas of the database.
        target: the schema ``shared``.
    """

    def applied(*, ctx: Any, **_: Any) -> None:
        ctx.connection.connection.dbapi_connection.run_async(rights.grant_shared)

    async with schemas.locked(target) as connection:
        await connection.run_sync(_run, environment, target, (applied,))
        await connection.commit()


def print_history(environment: EnvironmentContext, lineages: Sequence[LineageName]) -> None:
    """Print what ``alembic history`` asks for, from the revisions' files alone."""
    for name in lineages:
        environment.config.print_stdout("%s:", name)
        narrow(environment.script, name)
        environment.context_opts["fn"]((), None)


async def compare(environment: EnvironmentContext, schemas: Schemas, arguments: Arguments) -> None:
    """Make a new revision, or check whether one is needed, against the schema at head.

    The tenant lineage is built in a scratch schema, which is rolled back.

    Raises:
        CommandError: the revision is asked for one tenant.
    """
    if arguments.tenant is not None:
        raise CommandError("a revision is for all tenants: leave -x tenant out, or say -x tenant=shared")
    name = arguments.lineage
    chain = schemas.lineage(name)
    scratch = "shared" if name == "shared" else names.new_schema_name()
    async with schemas.connected(scratch) as connection:
        if name == "tenant":
            raw = await driver(connection)
            await connection.execute(text("SELECT 1"))  # makes SQLAlchemy begin its transaction
            ours = await installation.of(raw)
            script = (statement.sql for statement in render(chain, None, chain.head).statements)
            await ours.execute(raw, (*ours.unsharded(names.quoted(scratch)), *script))
        await connection.run_sync(_run, environment, Target(name, scratch, name), ())
        await connection.rollback()


def _run(connection: Connection, environment: EnvironmentContext, target: Target, applied: Any) -> None:
    """Run the prepared command. The connection's ``search_path`` must be the target's schema."""
    narrow(environment.script, target.lineage)
    shared = target.lineage == "shared"
    environment.configure(
        connection=connection,
        target_metadata=METADATA[target.lineage],
        version_table_schema="shared" if shared else None,
        include_schemas=shared,
        include_name=included(target.schema, partitions(connection, target.schema)),  # type: ignore[arg-type]
        compare_server_default=True,
        on_version_apply=applied,
    )
    compare_defaults(environment.get_context())
    with environment.begin_transaction():
        environment.run_migrations()


async def record(lineage: Lineage, target: Target, connection: Any, revision: str | None) -> None:
    """Write registry and event of the revision that a schema is at now, in the transaction that brought it there."""
    if target.tenant_id is None:
        return
    if revision is None:  # base: no event, because it would have no revision
        await record_revision(connection, target.tenant_id, lineage, revision)
    else:
        await migrated(connection, target.tenant_id, lineage, revision, caused_by=None)


@write_hooks.register("style")
def format_revision(file: str, _: Mapping[str, str]) -> None:
    """Format a new revision as the project is formatted, where ruff is installed."""
    if importlib.util.find_spec("ruff") is None:
        return
    written = Path(file).read_text()
    # An empty revision is written by hand, and keeps its imports for that; a merge stays empty.
    kept = () if "\n    op." in written or "\ndown_revision = (" in written else ("--ignore", "F401")
    for arguments in (["check", "--fix", "--quiet", *kept], ["format", "--quiet"]):
        subprocess.run([sys.executable, "-m", "ruff", *arguments, "--no-cache", file], check=False)  # noqa: S603 - our own file
