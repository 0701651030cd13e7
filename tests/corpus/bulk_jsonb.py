# same
"""JSONB, with nested quotes and backslashes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", pg.JSONB()))
    op.bulk_insert(things, [{"n": 1, "x": {"path": "c:\\temp", "q": "\"'"}}, {"n": 2, "x": {"ü": True}}])
