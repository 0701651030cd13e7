# same
"""Bit strings."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", pg.BIT(4)))
    op.bulk_insert(things, [{"n": 1, "x": pg.BitString("0101")}, {"n": 2, "x": pg.BitString("0110")}])
