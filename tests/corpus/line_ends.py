# same
"""Line ends within a literal."""

from alembic import op


def upgrade():
    op.execute("INSERT INTO people (name) VALUES ('  a\r\n  b  ')")
