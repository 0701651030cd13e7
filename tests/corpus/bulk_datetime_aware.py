# refused: without time zone
"""A time with an offset for a column without."""

import datetime as dt

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", sa.DateTime()))
    op.bulk_insert(things, [{"n": 1, "x": dt.datetime(2024, 2, 29, tzinfo=dt.UTC)}])
