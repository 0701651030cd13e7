# online
"""A savepoint, whose failure the revision survives."""

import contextlib

import sqlalchemy as sa
from alembic import op

online = True
idempotent = True


def upgrade():
    with contextlib.suppress(sa.exc.DBAPIError), op.get_bind().begin_nested():
        op.execute("SELECT 1 / 0")
    op.execute("UPDATE people SET age = 1")


def upgrade_empty():
    op.execute("UPDATE people SET age = 1")
