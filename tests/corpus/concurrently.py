# refused: declare online = True
"""An index that is built beside writes."""

from alembic import op


def upgrade():
    op.execute("CREATE INDEX CONCURRENTLY i ON people (age)")
