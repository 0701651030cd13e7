# refused: declare online = True
"""A loop over rows."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    for row in op.get_bind().execute(sa.text("SELECT id FROM people")):
        op.execute(f"UPDATE people SET age = 1 WHERE id = {row.id}")
