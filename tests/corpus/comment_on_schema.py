# refused: COMMENT ON SCHEMA
"""A comment on somebody else's."""

from alembic import op


def upgrade():
    op.execute("COMMENT ON SCHEMA shared IS 'x'")
