# same
"""Floats."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", sa.Float()))
    op.bulk_insert(
        things,
        [{"n": 1, "x": 0.1}, {"n": 2, "x": -1e300}, {"n": 3, "x": float("inf")}, {"n": 4, "x": float("nan")}],
    )
