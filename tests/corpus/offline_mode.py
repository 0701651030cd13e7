# same
"""A question whether the run is offline: it never is."""

from alembic import context, op


def upgrade():
    op.execute("UPDATE people SET age = 99" if context.is_offline_mode() else "UPDATE people SET age = 11")
