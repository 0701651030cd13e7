# refused: declare online = True
"""A block that commits."""

from alembic import op


def upgrade():
    with op.get_context().autocommit_block():
        op.execute("UPDATE people SET age = 1")
