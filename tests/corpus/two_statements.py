# refused: 2 statements
"""Two statements in one."""

from alembic import op


def upgrade():
    op.execute("UPDATE people SET age = 1; UPDATE people SET age = 2")
