# same
"""Integers at the edges."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", sa.Integer()))
    op.bulk_insert(things, [{"n": 1, "x": -2147483648}, {"n": 2, "x": 2147483647}, {"n": 3, "x": 0}])
