# online
"""A value added to an enum."""

from alembic import op

online = True
idempotent = True


def upgrade():
    op.execute("CREATE TYPE mood AS ENUM ('sad')")
    with op.get_context().autocommit_block():
        op.execute("ALTER TYPE mood ADD VALUE IF NOT EXISTS 'fine'")


def upgrade_empty():
    op.execute("CREATE TYPE mood AS ENUM ('sad', 'fine')")
