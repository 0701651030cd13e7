# refused: SET search_path
"""The search path, changed in a body."""

from alembic import op


def upgrade():
    op.execute("DO $$ BEGIN UPDATE people SET age = 1; SET search_path TO pg_catalog; END $$")
