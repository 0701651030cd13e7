# same
"""A column that is called serial."""

from alembic import op


def upgrade():
    op.execute("CREATE TABLE serial (serial text, CHECK (serial <> ''), CONSTRAINT serial4 UNIQUE (serial))")
    op.execute("ALTER TABLE serial ADD COLUMN IF NOT EXISTS bigserial integer")
    op.execute("ALTER TABLE serial ADD COLUMN serial2 text REFERENCES serial (serial)")
    op.execute("ALTER TABLE serial ADD serial8 text")
