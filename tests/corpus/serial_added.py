# refused: Identity
"""A serial column, added."""

from alembic import op


def upgrade():
    op.execute("ALTER TABLE people ADD COLUMN IF NOT EXISTS number serial")
