# refused: GRANT
"""A right given."""

from alembic import op


def upgrade():
    op.execute("GRANT SELECT ON people TO PUBLIC")
