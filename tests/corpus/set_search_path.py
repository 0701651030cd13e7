# refused: SET search_path
"""Another path."""

from alembic import op


def upgrade():
    op.execute("SET LOCAL search_path TO public")
