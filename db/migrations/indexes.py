"""Indexes that are built and dropped beside writes, for revisions that declare ``online = True``.

Both can be run again after a failure, so that a revision of nothing else declares ``idempotent = True``.
PostgreSQL manual, CREATE INDEX, Building Indexes Concurrently.
"""

from collections.abc import Sequence
from typing import Any, Final

from alembic import op
from sqlalchemy import text
from sqlalchemy.sql.elements import TextClause

_INVALID: Final = text(
    """
    SELECT 1 FROM pg_catalog.pg_index
    WHERE indexrelid = to_regclass(quote_ident(:name)) AND NOT indisvalid
    """
)


def create_index_concurrently(
    name: str, table: str, columns: Sequence[str | TextClause], **options: Any
) -> None:
    """Build an index beside writes, if it is not there. Commits what comes before it in the revision.

    A build that failed leaves an invalid index, which is dropped first. The build waits for all transactions
    that are older than it, such as a dump's, without a time limit; meanwhile it blocks nobody.

    Args:
        name: the index's name.
        table: the table's name.
        columns: columns' names, or SQL expressions as `sqlalchemy.text`.
        **options: of `op.create_index`, such as ``unique`` or ``postgresql_where``.
    """
    with op.get_context().autocommit_block():
        if op.get_bind().execute(_INVALID.bindparams(name=name)).first() is not None:
            op.drop_index(name, postgresql_concurrently=True, if_exists=True)
        op.create_index(name, table, columns, postgresql_concurrently=True, if_not_exists=True, **options)


def drop_index_concurrently(name: str) -> None:
    """Drop an index beside reads and writes, if it is there. Commits what comes before it in the revision."""
    with op.get_context().autocommit_block():
        op.drop_index(name, postgresql_concurrently=True, if_exists=True)
