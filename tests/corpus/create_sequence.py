# refused: Identity
"""A sequence."""

from alembic import op


def upgrade():
    op.execute("CREATE SEQUENCE counter")
