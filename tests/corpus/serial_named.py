# same
"""A column that is called serial."""

from alembic import op


def upgrade():
    op.execute("CREATE TABLE devices (serial text, CHECK (serial <> ''), UNIQUE (serial))")
    op.execute("ALTER TABLE devices ADD COLUMN IF NOT EXISTS bigserial integer")
