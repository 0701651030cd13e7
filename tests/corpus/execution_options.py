# refused: declare online = True
"""Execution options."""

from alembic import op


def upgrade():
    op.execute("UPDATE people SET age = 1", execution_options={"isolation_level": "AUTOCOMMIT"})
