# refused: CREATE SCHEMA
"""A schema."""

from alembic import op


def upgrade():
    op.execute("CREATE SCHEMA other")
