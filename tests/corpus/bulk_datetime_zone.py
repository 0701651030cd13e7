# same
"""Times with time zone."""

import datetime as dt

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table(
        "things", sa.Column("n", sa.Integer()), sa.Column("x", sa.DateTime(timezone=True))
    )
    op.bulk_insert(
        things,
        [
            {"n": 1, "x": dt.datetime(2024, 2, 29, tzinfo=dt.UTC)},
            {"n": 2, "x": dt.datetime(2024, 2, 29, tzinfo=dt.timezone(dt.timedelta(hours=-5, minutes=-30)))},
        ],
    )
