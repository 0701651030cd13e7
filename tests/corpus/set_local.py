# same
"""A setting for the transaction."""

from alembic import op


def upgrade():
    op.execute("SET LOCAL statement_timeout = '1min'")
    op.execute("UPDATE people SET age = 5")
