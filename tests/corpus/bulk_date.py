# same
"""Dates."""

import datetime as dt

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", sa.Date()))
    op.bulk_insert(things, [{"n": 1, "x": dt.date(1, 1, 1)}, {"n": 2, "x": dt.date(9999, 12, 31)}])
