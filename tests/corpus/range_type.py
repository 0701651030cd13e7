# same
"""A range type, whose constructors PostgreSQL makes, and partly owns, itself."""

from alembic import op


def upgrade():
    op.execute("CREATE TYPE price_range AS RANGE (subtype = numeric)")
    op.execute("ALTER TABLE people ADD COLUMN paid price_range")
    op.execute("UPDATE people SET paid = price_range(1, 2)")
