# refused: pg_advisory_xact_lock
"""A lock that outlives the transaction."""

from alembic import op


def upgrade():
    op.execute("SELECT pg_advisory_lock(1)")
