# refused: in a body: a ' is not closed
"""A string that a body does not close."""

from alembic import op


def upgrade():
    op.execute("DO $$ BEGIN RAISE NOTICE 'x; END $$")
