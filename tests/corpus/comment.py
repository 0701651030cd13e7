# same
"""Comments with quotes on table and column."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.create_table("noted", sa.Column("a", sa.Integer(), comment="it's; a: 100%"), comment="two\nlines")
    op.execute("COMMENT ON COLUMN people.name IS 'who'")
