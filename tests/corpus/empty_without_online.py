# refused: not online = True
"""An upgrade_empty that nobody would call."""

from alembic import op


def upgrade():
    op.execute("UPDATE people SET age = 1")


def upgrade_empty():
    op.execute("UPDATE people SET age = 1")
