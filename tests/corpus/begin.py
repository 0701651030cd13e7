# refused: BEGIN
"""A transaction of its own."""

from alembic import op


def upgrade():
    op.execute("/* quietly */ begin")
