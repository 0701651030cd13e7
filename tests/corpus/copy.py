# refused: COPY
"""COPY."""

from alembic import op


def upgrade():
    op.execute("COPY people FROM STDIN")
