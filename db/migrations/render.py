"""Rendering: the SQL of (from, to), made once and run for every schema.

It must do what the online run does, to the letter, so whatever would make the two differ is refused.
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
"""What the online run speaks; the plain ``postgresql`` dialect would double every ``%``."""

# Alembic's `op` is a process-wide proxy, so one rendering at a time.
_ONE_AT_A_TIME: Final = threading.Lock()

# What SQL does not look into: comments, literals, quoted names, dollar-quoted bodies.
_OPAQUE: Final = re.compile(
    r"""--[^\n]*|/\*.*?\*/|\be'(?:\\.|''|[^'\\])*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(?P<tag>[a-z_]\w*|)\$.*?\$(?P=tag)\$""",
    re.DOTALL | re.IGNORECASE,
)
_ENDS_TRANSACTION: Final = frozenset({"begin", "start", "commit", "end", "rollback", "abort", "prepare"})


class RenderError(TenantryError):
    """A revision cannot be run as a rendered script; the message says why, and what helps."""


class NeedsOnlineError(RenderError):
    """A revision declares ``online = True``, so existing schemas take Alembic's online path."""


class Rendered(msgspec.Struct, frozen=True):
    """The script that takes a schema from ``start`` (None: empty) to ``end``, its version table included.

    It names no schema: whoever runs it sets ``search_path`` for the transaction.
    """

    start: str | None
    end: str
    sql: str


@lru_cache(maxsize=64)
def render(lineage: Lineage, start: str | None, end: str) -> Rendered:
    """Render the revisions after ``start`` up to ``end``.

    A revision that must see data, or cannot run in a transaction, declares ``online = True``, and an
    ``upgrade_empty()`` that does the same for a schema without data.

    Args:
        lineage: the chain they are of.
        start: where the schema is; None for an empty schema.
        end: where it shall be.

    Raises:
        NeedsOnlineError: one of them declares it, and the schema is not empty.
        RenderError: one would not do the same as a script.
        UnknownRevision: either end is not of the lineage.
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
                "transactional_ddl": False,  # no BEGIN and COMMIT: the caller's transaction holds it all
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
    """Lead `alembic.op` to a context, and back to an online run that may be waiting for PostgreSQL."""
    waiting = getattr(op, "_proxy", None)
    try:
        with Operations.context(context):
            yield
    finally:
        if waiting is not None:
            waiting._install_proxy()  # noqa: SLF001 - Alembic's own way forgets whoever was there before


def is_online(module: Any) -> bool:
    """Say whether a revision declares that existing schemas cannot run it as a script."""
    return bool(getattr(module, "online", False))


def _watch(context: MigrationContext) -> None:
    """Check every statement between the revision and the output, where bound values are still known."""
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
