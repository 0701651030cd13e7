# refused: SET search_path
"""A setting between quotes."""

from alembic import op


def upgrade():
    op.execute('SET LOCAL "search_path" TO pg_catalog')
