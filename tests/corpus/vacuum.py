# refused: declare online = True
"""What cannot run in a transaction."""

from alembic import op


def upgrade():
    op.execute("VACUUM people")
