# refused: GRANT
"""Rights, granted in a body."""

from alembic import op


def upgrade():
    op.execute("DO $$ BEGIN IF true THEN GRANT SELECT ON people TO PUBLIC; END IF; END $$")
