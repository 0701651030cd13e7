# refused: EXTENSIONS
"""An extension."""

from alembic import op


def upgrade():
    op.execute("CREATE EXTENSION IF NOT EXISTS citext")
