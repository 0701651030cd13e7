# refused: GRANT
"""Rights, granted by a text within a body."""

from alembic import op


def upgrade():
    op.execute("DO $$ BEGIN EXECUTE format('GRANT SELECT ON %I TO PUBLIC', 'people'); END $$")
