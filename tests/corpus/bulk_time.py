# same
"""Times of day."""

import datetime as dt

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", sa.Time()))
    op.bulk_insert(things, [{"n": 1, "x": dt.time(23, 59, 59, 1)}])
