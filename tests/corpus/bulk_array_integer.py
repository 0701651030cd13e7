# same
"""Arrays of numbers, also of two dimensions."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", sa.ARRAY(sa.Integer())))
    op.bulk_insert(things, [{"n": 1, "x": [[1, -2], [3, 4]]}])
