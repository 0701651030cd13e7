# refused: declare online = True
"""A partition detached beside readers."""

from alembic import op


def upgrade():
    op.execute("ALTER TABLE people DETACH PARTITION old CONCURRENTLY")
