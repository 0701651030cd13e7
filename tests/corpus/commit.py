# refused: COMMIT
"""An end of the transaction."""

from alembic import op


def upgrade():
    op.execute("COMMIT")
