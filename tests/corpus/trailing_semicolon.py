# same
"""A final semicolon, and statements that are empty."""

from alembic import op


def upgrade():
    op.execute("UPDATE people SET age = 7;")
    op.execute("")
    op.execute("-- nothing")
