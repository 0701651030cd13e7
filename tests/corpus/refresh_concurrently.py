# refused: write REFRESH alone
"""A refresh that needs a temporary table."""

from alembic import op


def upgrade():
    op.execute("CREATE MATERIALIZED VIEW names AS SELECT name FROM people")
    op.execute("CREATE UNIQUE INDEX ix_names ON names (name)")
    op.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY names")
