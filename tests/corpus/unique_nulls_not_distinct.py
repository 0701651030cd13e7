# same
"""A unique index for which nulls are equal."""

from alembic import op


def upgrade():
    op.create_index("one_age", "people", ["age", "name"], unique=True, postgresql_nulls_not_distinct=True)
