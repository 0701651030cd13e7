# same
"""Intervals, also below zero."""

import datetime as dt

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", sa.Interval()))
    op.bulk_insert(
        things,
        [
            {"n": 1, "x": dt.timedelta(days=-1, seconds=5, microseconds=7)},
            {"n": 2, "x": dt.timedelta(weeks=5000)},
        ],
    )
