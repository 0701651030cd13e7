# refused: compatible_from
"""A tuple for one revision."""

from alembic import op

compatible_from = ("r1",)


def upgrade():
    op.execute("UPDATE people SET age = 1")
