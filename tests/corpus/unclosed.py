# refused: not closed
"""A literal without an end."""

from alembic import op


def upgrade():
    op.execute("UPDATE people SET name = 'a")
