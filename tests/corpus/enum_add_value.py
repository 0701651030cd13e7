# refused: declare online = True
"""A value added to an enum, which can be used after a commit only."""

from alembic import op


def upgrade():
    op.execute("CREATE TYPE mood AS ENUM ('sad')")
    op.execute("ALTER TYPE mood ADD VALUE 'fine'")
