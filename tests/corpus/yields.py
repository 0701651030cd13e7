# refused: is async or has a yield
"""An upgrade of which nothing would run."""

from alembic import op


def upgrade():
    yield op.execute("UPDATE people SET age = 1")
