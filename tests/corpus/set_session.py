# refused: SET LOCAL
"""A setting of the session."""

from alembic import op


def upgrade():
    op.execute("SET statement_timeout = 0")
