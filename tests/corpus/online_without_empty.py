# refused: upgrade_empty()
"""An online revision that does not say how it begins."""

from alembic import op

online = True


def upgrade():
    op.execute("UPDATE people SET age = 1")
