# same
"""Multiranges."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", pg.INT4MULTIRANGE()))
    op.bulk_insert(things, [{"n": 1, "x": [pg.Range(1, 3), pg.Range(5, 7)]}])
