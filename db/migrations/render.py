"""Rendering: making the SQL from one revision to another, once for all schemas.

The SQL must do exactly what the online run does. A revision that would make the two differ is refused.
"""

import io
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

import msgspec
from alembic import op
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext, RevisionStep
from sqlalchemy import Dialect, TextClause
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.sql.base import Executable

from db.errors import TenantryError
from db.migrations.lineage import Lineage

DIALECT: Final[Dialect] = PGDialect_asyncpg()  # type: ignore[no-untyped-call]
"""The dialect of the online run. The plain ``postgresql`` dialect would double every ``%``."""

# Alembic's `op` is one proxy for the whole process, so only one rendering can run at a time.
_ONE_AT_A_TIME: Final = threading.Lock()

# Parts of SQL text that hold no statements: comments, literals, quoted names, dollar-quoted bodies.
_OPAQUE: Final = re.compile(
    r"""--[^\n]*|/\*.*?\*/|\be'(?:\\.|''|[^'\\])*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(?P<tag>[a-z_]\w*|)\$.*?\$(?P=tag)\$""",
    re.DOTALL | re.IGNORECASE,
)
_ENDS_TRANSACTION: Final = frozenset({"begin", "start", "commit", "end", "rollback", "abort", "prepare"})


class RenderError(TenantryError):
    """A revision cannot be run as a rendered script. The message says why, and what to change."""


class NeedsOnlineError(RenderError):
    """A revision declares ``online = True``, so it must run online on existing schemas."""


class Rendered(msgspec.Struct, frozen=True):
    """The SQL that takes a schema from ``start`` (None: empty) to ``end``, and updates its version table.

    A tenant's script names no schema: its caller sets ``search_path`` for the transaction.
    """

    start: str | None
    end: str
    sql: str


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
        ValueError: ``end`` is older than ``start``.
    """
    online = {script.revision for script in lineage.path(start, end) if is_online(script.module)}
    if online and start is not None:
        raise NeedsOnlineError(f"{', '.join(sorted(online))} must run online")

    def steps(heads: Any, _: MigrationContext) -> Iterable[RevisionStep]:
        for step in lineage.script._upgrade_revs(end, heads):  # noqa: SLF001 - as alembic.command does
            module = step.revision.module
            if step.revision.revision in online:
                step.migration_fn = module.upgrade_empty
            yield step

    buffer = io.StringIO()
    with _ONE_AT_A_TIME:
        context = MigrationContext.configure(
            dialect=DIALECT,
            opts={
                "as_sql": True,
                "script": lineage.script,
                "fn": steps,
                "starting_rev": start,
                "literal_binds": True,
                "transactional_ddl": False,  # no BEGIN and COMMIT: the script runs in the caller's transaction
                "version_table_schema": "shared" if lineage.name == "shared" else None,
                "output_buffer": buffer,
            },
        )
        _watch(context)
        with _operations(context):
            context.run_migrations()
    return Rendered(start, end, buffer.getvalue())


@contextmanager
def _operations(context: MigrationContext) -> Iterator[None]:
    """Point `alembic.op` at a context, and afterwards back at the online run that used it, if there is one."""
    waiting = getattr(op, "_proxy", None)
    try:
        with Operations.context(context):
            yield
    finally:
        if waiting is not None:
            waiting._install_proxy()  # noqa: SLF001 - Alembic itself does not restore the previous proxy


def is_online(module: Any) -> bool:
    """Return True if a revision declares ``online = True``."""
    return bool(getattr(module, "online", False))


def _watch(context: MigrationContext) -> None:
    """Make a context check each statement before it is written, while its parameters are still known."""
    impl = context.impl
    unchecked = impl._exec  # noqa: SLF001 - the one place all of op.* passes through

    def checked(construct: Executable | str, *args: Any, **kwargs: Any) -> Any:
        clause = TextClause(construct) if isinstance(construct, str) else construct
        if isinstance(clause, TextClause):
            _check_binds(clause)
            _check_text(clause.text)
        return unchecked(clause, *args, **kwargs)

    impl._exec = checked  # type: ignore[method-assign]  # noqa: SLF001

    emit = impl.static_output

    def checked_output(text: str) -> None:
        _check_text(text)
        emit(text)

    impl.static_output = checked_output  # type: ignore[method-assign]


def _check_binds(clause: TextClause) -> None:
    missing = [name for name, bind in clause._bindparams.items() if bind.required]  # noqa: SLF001
    if missing:
        raise RenderError(
            f":{missing[0]} in SQL text is a parameter without a value, and would be rendered as NULL; "
            f"write \\:{missing[0]} for a colon"
        )


def _check_text(sql: str) -> None:
    bare = _OPAQUE.sub(" ", sql)
    if re.search(r"\bconcurrently\b", bare, re.IGNORECASE):
        raise RenderError(
            "CONCURRENTLY cannot run in a transaction: declare online = True and an upgrade_empty() without"
        )
    for statement in bare.split(";"):
        words = statement.split(maxsplit=2)
        if words and words[0].casefold() in _ENDS_TRANSACTION:
            raise RenderError(f"{words[0].upper()}: a revision runs within its caller's transaction")
