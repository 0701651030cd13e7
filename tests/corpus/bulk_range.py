# same
"""Ranges, open, empty and without end."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", pg.INT4RANGE()))
    op.bulk_insert(
        things,
        [
            {"n": 1, "x": pg.Range(1, 5)},
            {"n": 2, "x": pg.Range(None, 5, bounds="(]")},
            {"n": 3, "x": pg.Range(empty=True)},
        ],
    )
