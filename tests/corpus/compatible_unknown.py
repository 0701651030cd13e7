# refused: compatible_from
"""A revision that is not there."""

from alembic import op

compatible_from = "r9"


def upgrade():
    op.execute("UPDATE people SET age = 1")
