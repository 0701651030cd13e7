"""Moving a schema from revision to revision: scripts where they do, Alembic's online run where they do not.

In an ``autocommit_block`` there is no ``lock_timeout``: what waits there blocks nobody, and CREATE INDEX
CONCURRENTLY waits for every older snapshot, as long as a dump takes.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

from alembic.runtime.migration import MigrationContext, RevisionStep
from sqlalchemy import Connection as SyncConnection
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

from db.migrations import rules
from db.migrations.lineage import Lineage
from db.migrations.plan import Direction, Leg, legs, script_of
from db.migrations.proxies import pointed_at
from db.migrations.run import MigrationError, current_revision, run_on, run_shared
from db.names import schema_name
from db.server import installation, rights, roles
from db.server.installation import Installation
from db.session.connection import Connection

Record = Callable[[Connection, str | None], Awaitable[None]]
"""Writes what has to be known of the revision that a schema is at now; None is before the first."""


async def move(
    connection: AsyncConnection,
    lineage: Lineage,
    schema: str,
    direction: Direction,
    current: str | None,
    destination: str | None,
    record: Record,
) -> None:
    """Bring a schema to a revision. What an error interrupts stays at the last revision that was recorded.

    Args:
        connection: of the owner, with the schema as its ``search_path``, not in a transaction. It holds the
            advisory lock of the schema's tenant.
        lineage: the lineage of the revisions.
        schema: the schema's name.
        direction: up or down.
        current: the schema's revision.
        destination: the revision to reach.
        record: called in the transaction of each revision.

    Raises:
        RenderError: a revision cannot be taken back.
        RuleError: a statement of an online revision is against the rules of the lineage.
        asyncpg.PostgresError, sqlalchemy.exc.DBAPIError: a statement failed.
    """
    raw = await driver(connection)
    for leg in legs(lineage, direction, current, destination):
        if leg.online:
            await connection.run_sync(_run_online, lineage, schema, direction, leg.stops[0], record)
            continue
        async with raw.transaction():
            if lineage.name == "tenant":
                at, ours = await current_revision(raw, schema), await installation.of(raw)
                await run_leg(raw, lineage, schema, direction, leg, at, ours, record)
                continue
            for stop in leg.stops:
                script = script_of(lineage, stop, direction)
                await run_shared(raw, script)
                await record(raw, script.end)


async def run_leg(
    connection: Connection,
    lineage: Lineage,
    schema: str,
    direction: Direction,
    leg: Leg,
    current: str | None,
    ours: Installation,
    record: Record,
) -> None:
    """Run the scripts of a leg in a tenant's schema, each with its record.

    Args:
        connection: of the owner, in a transaction that holds the tenant's lock.
        lineage: the tenants' lineage.
        schema: the schema's name.
        direction: up or down.
        leg: the leg, which runs as scripts.
        current: the schema's revision, as the transaction has read it.
        ours: the connection's installation.
        record: called after each script.

    Raises:
        MigrationError: the schema is not where the leg begins, or a script did not bring it to its end.
        RenderError: a revision cannot be taken back.
        asyncpg.PostgresError: a statement failed.
    """
    for stop in leg.stops:
        script = script_of(lineage, stop, direction)
        if current != script.start:
            raise MigrationError(f"{schema} is at {current}, not at {script.start}")
        await run_on(connection, schema_name(schema), script, ours)
        await record(connection, script.end)
        current = script.end


async def driver(connection: AsyncConnection) -> Any:
    """Return the asyncpg connection below SQLAlchemy's."""
    adapted = await connection.get_raw_connection()
    assert adapted.driver_connection is not None  # the connection is open
    return adapted.driver_connection


def _run_online(
    connection: SyncConnection,
    lineage: Lineage,
    schema: str,
    direction: Direction,
    stop: tuple[str | None, str | None],
    record: Record,
) -> None:
    """Run one revision as Alembic does, in a transaction of its own."""
    up = direction == "upgrade"
    revision = lineage.script.get_revision((stop[1] if up else stop[0]) or "")
    assert revision is not None  # of the lineage
    step = RevisionStep(lineage.script.revision_map, revision, is_upgrade=up)

    async def finish(raw: Connection, reached: str | None) -> None:
        if lineage.name == "shared":
            await rights.grant_shared(raw)
        else:
            await roles.grant_schema(raw, schema_name(schema))
        await record(raw, reached)

    def applied(*, ctx: MigrationContext, heads: set[str], **_: Any) -> None:
        _on_driver(ctx, lambda raw: finish(raw, lineage.newest(heads)))

    def checked(_: Any, __: Any, statement: str, *___: Any) -> None:
        rules.check(statement, lineage.name, transaction=False)

    context = MigrationContext.configure(
        connection=connection,
        opts={
            "script": lineage.script,
            "fn": lambda *_: [step],
            "transaction_per_migration": True,
            "on_version_apply": (applied,),
            "version_table_schema": "shared" if lineage.name == "shared" else None,
        },
    )
    block = context.autocommit_block
    context.autocommit_block = partial(_patient, context, block)  # type: ignore[method-assign]
    event.listen(connection, "before_cursor_execute", checked)
    try:
        with pointed_at(context), context.begin_transaction():
            context.run_migrations()
    finally:
        event.remove(connection, "before_cursor_execute", checked)


@contextmanager
def _patient(context: MigrationContext, block: Callable[[], AbstractContextManager[Any]]) -> Iterator[None]:
    """Enter an autocommit block without ``lock_timeout``."""
    with block():
        _on_driver(context, lambda raw: raw.execute("SET lock_timeout = 0"))
        try:
            yield
        finally:  # also if the revision goes on after a failure
            _on_driver(context, lambda raw: raw.execute("RESET lock_timeout"))


def _on_driver(context: MigrationContext, work: Callable[[Any], Awaitable[Any]]) -> None:
    """Run a coroutine with the asyncpg connection of an online run."""
    assert context.connection is not None  # an online run
    adapted: Any = context.connection.connection.dbapi_connection
    adapted.run_async(work)
