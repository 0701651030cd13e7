# refused: is async or has a yield
"""An upgrade that nobody would await."""

from alembic import op


async def upgrade():
    op.execute("UPDATE people SET age = 1")
