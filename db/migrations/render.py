"""Rendering: making the SQL from one revision to another, once for all schemas.

The SQL is what Alembic's online run would send. A revision that would make the two differ is refused.
"""

import threading
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

import msgspec
from alembic.runtime.migration import HeadMaintainer, MigrationContext, RevisionStep
from alembic.script import Script
from sqlalchemy import Dialect
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.schema import CreateTable

from db.errors import TenantryError
from db.migrations.lineage import Lineage
from db.migrations.proxies import ArgumentError, pointed_at
from db.migrations.recorder import UNRECORDED, Recorder, Statement
from db.migrations.rules import ONLINE

DIALECT: Final[Dialect] = PGDialect_asyncpg(dbapi=PGDialect_asyncpg.import_dbapi())  # type: ignore[no-untyped-call]
"""The dialect of the online run. The plain ``postgresql`` dialect would double every ``%``."""

_SETTLE: Final = (
    "SET CONSTRAINTS ALL IMMEDIATE",
    """
    DO $$
    DECLARE deferred text := (
        SELECT string_agg(format('%I.%I', {schema}, conname), ', ')
        FROM pg_catalog.pg_depend JOIN pg_catalog.pg_constraint ON conrelid = objid AND condeferred
        WHERE refclassid = 'pg_catalog.pg_namespace'::regclass AND refobjid = to_regnamespace({schema})
          AND classid = 'pg_catalog.pg_class'::regclass -- by indexes: tenants have many constraints
    );
    BEGIN
        IF deferred IS NOT NULL THEN EXECUTE 'SET CONSTRAINTS ' || deferred || ' DEFERRED'; END IF;
    END $$
    """,
)
"""What a commit does at the end of each revision: deferred checks are made, and constraints are as declared again.

With checks still to be made, the next revision could not alter the table.
"""

_ONE_AT_A_TIME: Final = threading.RLock()
"""Held while a run uses Alembic's proxies in this thread."""


class RenderError(TenantryError):
    """A revision cannot be run as a rendered script. The message says which, why, and what to change."""


class NeedsOnlineError(RenderError):
    """A revision declares ``online = True``, so it must run online on existing schemas."""


class IrreversibleError(RenderError):
    """A revision's ``downgrade()`` raises NotImplementedError."""


class Rendered(msgspec.Struct, frozen=True):
    """The statements that take a schema from ``start`` to ``end``, and update its version table.

    ``start`` and ``end`` are revisions; None is a schema before the first. A tenant's script names no schema:
    its caller sets ``search_path`` for the transaction.
    """

    start: str | None
    end: str | None
    statements: tuple[Statement, ...]

    @property
    def sql(self) -> str:
        """The script as one text, to be sent at once."""
        return "\n".join(statement.sql for statement in self.statements)


@lru_cache(maxsize=64)
def render(lineage: Lineage, start: str | None, end: str) -> Rendered:
    """Render the revisions after ``start`` up to ``end``.

    A revision that must see data, or cannot run in a transaction, declares ``online = True``, and defines
    an ``upgrade_empty()`` that does the same for a schema without data.

    Args:
        lineage: the lineage of the revisions.
        start: the schema's revision; None for an empty schema.
        end: the revision to reach.

    Raises:
        NeedsOnlineError: a revision declares ``online = True``, and the schema is not empty.
        RenderError: a revision would not do the same as a script.
        UnknownRevisionError: the lineage does not have one of the revisions.
        ValueError: ``end`` does not come after ``start``.
    """
    path = lineage.path(start, end)
    online = [script.revision for script in path if is_online(script.module)]
    if online and start is not None:
        raise NeedsOnlineError(f"{', '.join(online)} must run online")
    return Rendered(start, end, _record(lineage, start, _ups(lineage, path), settles=_defers(lineage)))


def version_table(lineage: Lineage) -> str:
    """Return the statement that makes the version table in a schema that has none."""
    return render(lineage, None, lineage.base).statements[0].sql


@lru_cache(maxsize=64)
def render_down(lineage: Lineage, start: str, end: str | None) -> Rendered:
    """Render the downgrades from ``start`` to ``end``, newest first.

    Args:
        lineage: the lineage of the revisions.
        start: the schema's revision.
        end: the revision to go back to; None to take back the first one too.

    Raises:
        NeedsOnlineError: a revision declares ``online = True``.
        RenderError: a revision would not do the same as a script, or cannot be taken back.
        UnknownRevisionError: the lineage does not have one of the revisions.
        ValueError: ``end`` does not come before ``start``.
    """
    path = lineage.path_down(start, end)
    online = [script.revision for script in path if is_online(script.module)]
    if online:
        raise NeedsOnlineError(f"{', '.join(online)} must run online")
    steps = [RevisionStep(lineage.script.revision_map, script, is_upgrade=False) for script in path]
    return Rendered(start, end, _record(lineage, start, steps, settles=_defers(lineage)))


def downgrade_statements(lineage: Lineage, script: Script) -> tuple[Statement, ...]:
    """Return what a revision's downgrade does; nothing if it cannot be taken back.

    Raises:
        RenderError: the downgrade would not do the same as a script.
    """
    step = RevisionStep(lineage.script.revision_map, script, is_upgrade=False)
    try:
        return _record(lineage, script.revision, [step], settles=False)
    except IrreversibleError:
        return ()


def _ups(lineage: Lineage, path: Iterable[Script]) -> list[RevisionStep]:
    steps = [RevisionStep(lineage.script.revision_map, script, is_upgrade=True) for script in path]
    for step in steps:
        if is_online(step.revision.module):
            step.migration_fn = step.revision.module.upgrade_empty
    return steps


@lru_cache(maxsize=8)
def _defers(lineage: Lineage) -> bool:
    """Return whether a revision of the lineage says DEFERRED, of a constraint or in SET CONSTRAINTS."""
    found = _record(lineage, None, _ups(lineage, lineage.revisions), settles=False)
    return any("deferred" in statement.sql.lower() for statement in found)


def _record(
    lineage: Lineage, start: str | None, steps: Iterable[RevisionStep], *, settles: bool
) -> tuple[Statement, ...]:
    """Run steps, and return their statements.

    Args:
        lineage: the lineage of the revisions.
        start: the schema's revision.
        steps: the revisions, up or down.
        settles: whether to end each revision as a commit would.
    """
    schema = "'shared'" if lineage.name == "shared" else "current_schema()::text"
    with _ONE_AT_A_TIME:
        context = MigrationContext.configure(
            dialect=DIALECT,
            opts={
                "script": lineage.script,
                "version_table_schema": "shared" if lineage.name == "shared" else None,
            },
        )
        recorder = Recorder(context, lineage.name)
        versions = HeadMaintainer(context, () if start is None else (start,))
        with pointed_at(context):
            for step in steps:
                recorder.revision = step.revision.revision
                if not versions.heads:  # a schema that was taken back to base has the table already
                    context.impl._exec(CreateTable(context._version, if_not_exists=True))  # noqa: SLF001
                _run(lineage, step, step.migration_fn)
                versions.update_to_step(step)
                for text in _SETTLE if settles else ():
                    recorder.add(text.format(schema=schema).strip())
    return tuple(recorder.statements)


def _run(lineage: Lineage, step: RevisionStep, function: Callable[[], Any]) -> None:
    """Run a function of a revision.

    Raises:
        RenderError: it was refused, or failed.
    """
    name = getattr(function, "__name__", "upgrade" if step.is_upgrade else "downgrade")
    where = f"revision {step.revision.revision} ({lineage.name} lineage), {name}()"
    try:
        function()
    except (*UNRECORDED, ArgumentError) as error:
        raise RenderError(f"{where}: {error}") from error
    except NotImplementedError as error:
        raise IrreversibleError(f"{where}: {str(error) or 'the revision cannot be taken back'}") from error
    except (Exception, SystemExit) as error:
        raise RenderError(
            f"{where} failed with {type(error).__name__}: {error}; if it needs a database, {ONLINE}"
        ) from error


def is_online(module: Any) -> bool:
    """Return True if a revision declares ``online = True``."""
    return bool(getattr(module, "online", False))


def is_idempotent(module: Any) -> bool:
    """Return True if a revision declares ``idempotent = True``: after a failure, it can be run again."""
    return bool(getattr(module, "idempotent", False))
