# same
"""Addresses."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", pg.INET()))
    op.bulk_insert(things, [{"n": 1, "x": "192.168.0.1/24"}, {"n": 2, "x": "::1"}])
