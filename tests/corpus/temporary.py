# refused: a temporary table
"""A temporary table, which the hardened server refuses."""

from alembic import op


def upgrade():
    op.execute("CREATE TEMP TABLE before ON COMMIT DROP AS SELECT * FROM people")
