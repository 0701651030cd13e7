"""Stamps: writing which revision a tenant's schema is at, without running it, if the schema is what it says.

A stamp is for a schema that came to be otherwise: restored, repaired by hand, left behind by a lost version table.
It is written only if the schema has the structure that the revision makes, which a scratch schema shows.
"""

import logging
from typing import Final

from alembic.util import CommandError

from db import names
from db.migrations import commands, plan
from db.migrations.fingerprint import structure
from db.migrations.lineage import Lineage
from db.migrations.move import driver
from db.migrations.render import render, version_table
from db.migrations.run import current_revision, run_on
from db.migrations.schemas import Schemas, Target
from db.names import SchemaName, quoted
from db.server import installation, roles
from db.server.installation import Installation
from db.session.connection import Connection, migration_path

log = logging.getLogger(__name__)

_SHOWN: Final = 8
"""Most differences that a refusal names, of each kind."""
_LENGTH: Final = 160
"""Most characters of a difference."""


async def stamp(schemas: Schemas, target: Target, text: str, *, purge: bool) -> None:
    """Write that a tenant's schema is at a revision, to its version table, the registry and the ledger.

    Args:
        schemas: the schemas of the database.
        target: the tenant's schema.
        text: the revision, as it was typed.
        purge: whether to overwrite a version table that has several rows, or a revision that is not known here.

    Raises:
        CommandError: there is no such revision, or the schema is not what it makes.
        MigrationError: the version table has several rows.
        LineageError: a revision cannot be run.
    """
    chain, schema = schemas.lineage("tenant"), names.schema_name(target.schema)
    async with schemas.locked(target) as connection:
        raw = await driver(connection)
        current = None if purge else await current_revision(raw, schema)
        if current is not None and not chain.knows(current):
            raise CommandError(f"it is at {current}, which this release does not know; --purge overwrites it")
        revision = plan.resolve(chain, text, [current])
        ours, scratch = await installation.of(raw), names.new_schema_name()
        await roles.prepare_schema(raw, scratch)  # on Citus the role stays, until upkeep drops it
        async with raw.transaction():
            await _write(raw, schema, chain, revision, ours)
            await _check(raw, schema, await _expected(raw, scratch, chain, revision, ours), revision)
            await commands.record(chain, target, raw, revision)
    log.info("%s: stamped %s -> %s", target.label, current or "base", revision or "base")


async def _write(
    connection: Connection, schema: SchemaName, lineage: Lineage, revision: str | None, ours: Installation
) -> None:
    """Write a revision to a schema's version table, and grant the tenant's role its rights."""
    table = f"{quoted(schema)}.alembic_version"
    # Checked ids are letters, digits and underscores.
    insertion = [] if revision is None else [f"INSERT INTO {table} (version_num) VALUES ('{revision}')"]
    statements = (_path(schema), version_table(lineage), f"DELETE FROM {table}", *insertion, _NO_PATH)
    await ours.execute(connection, statements)
    await roles.grant_schema(connection, schema, ours)


async def _expected(
    connection: Connection, scratch: SchemaName, lineage: Lineage, revision: str | None, ours: Installation
) -> frozenset[str]:
    """Return the structure that a revision makes, from a scratch schema that is rolled back."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await roles.create_schema(connection, scratch)
        if revision is None:
            await ours.execute(connection, (_path(scratch), version_table(lineage), _NO_PATH))
            await roles.grant_schema(connection, scratch, ours)
        else:
            await run_on(connection, scratch, render(lineage, None, revision), ours)
        return frozenset(await structure(connection, scratch))
    finally:
        await transaction.rollback()


async def _check(
    connection: Connection, schema: SchemaName, expected: frozenset[str], revision: str | None
) -> None:
    """Check that a schema has a structure.

    Raises:
        CommandError: it has another one.
    """
    found = frozenset(await structure(connection, schema))
    if found != expected:
        raise CommandError(
            f"nothing was stamped: the schema is not what {revision or 'base'} makes of it"
            f"{_listed('it lacks', expected - found)}{_listed('it has beside', found - expected)}"
        )


def _listed(what: str, lines: frozenset[str]) -> str:
    if not lines:
        return ""
    shown = "".join(f"\n    {line[:_LENGTH]}" for line in sorted(lines)[:_SHOWN])
    more = f"\n    and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return f"\n  {what}:{shown}{more}"


def _path(schema: SchemaName) -> str:
    return f"SET LOCAL search_path TO {migration_path(schema)}"


_NO_PATH: Final = "SET LOCAL search_path TO ''"
