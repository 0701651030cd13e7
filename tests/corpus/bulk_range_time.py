# same
"""Ranges of times."""

import datetime as dt

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", pg.TSTZRANGE()))
    op.bulk_insert(things, [{"n": 1, "x": pg.Range(dt.datetime(2024, 1, 1, tzinfo=dt.UTC), None)}])
