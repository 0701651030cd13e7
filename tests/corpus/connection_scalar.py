# refused: declare online = True
"""A connection's own short forms."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.execute(f"UPDATE people SET age = {op.get_bind().scalar(sa.text('SELECT 1'))}")
