# refused: declare online = True
"""A branch on a result."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    if op.get_bind().execute(sa.text("SELECT 1 FROM people")):
        op.execute("UPDATE people SET age = 1")
