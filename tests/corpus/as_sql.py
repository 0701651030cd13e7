# same
"""A question whether the SQL is only written: it never is."""

from alembic import op


def upgrade():
    op.execute("UPDATE people SET age = 99" if op.get_context().as_sql else "UPDATE people SET age = 11")
