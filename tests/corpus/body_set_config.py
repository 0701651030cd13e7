# refused: set_config
"""A setting, changed by a function in a body."""

from alembic import op


def upgrade():
    op.execute("DO $$ BEGIN PERFORM pg_catalog.\"set_config\"('search_path', 'pg_catalog', false); END $$")
