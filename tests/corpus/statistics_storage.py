# same
"""Extended statistics and storage parameters."""

from alembic import op


def upgrade():
    op.execute("CREATE STATISTICS together (dependencies) ON name, age FROM people")
    op.execute("ALTER TABLE people SET (fillfactor = 70)")
