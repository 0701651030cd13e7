# refused: COMMIT in a body
"""A commit in a body."""

from alembic import op


def upgrade():
    op.execute("DO $$ BEGIN UPDATE people SET age = 1; COMMIT; END $$")
