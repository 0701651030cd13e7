# same
"""Times without time zone."""

import datetime as dt

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", sa.DateTime()))
    op.bulk_insert(
        things,
        [{"n": 1, "x": dt.datetime(2024, 2, 29, 23, 59, 59, 999999)}, {"n": 2, "x": dt.datetime(1, 1, 1)}],
    )
