# refused: SAVEPOINT
"""A savepoint."""

from alembic import op


def upgrade():
    op.execute("SAVEPOINT a")
