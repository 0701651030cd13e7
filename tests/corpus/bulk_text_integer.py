# refused: int given for
"""An integer for text, which asyncpg refuses."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", sa.Text()))
    op.bulk_insert(things, [{"n": 1, "x": 5}])
