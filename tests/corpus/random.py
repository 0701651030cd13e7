# refused: something else each time
"""A random value that Python draws."""

import uuid

from alembic import op


def upgrade():
    op.execute(f"UPDATE people SET name = '{uuid.uuid4()}'")
