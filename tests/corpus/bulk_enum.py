# same
"""Enum members."""

import enum

import sqlalchemy as sa
from alembic import op


class Mood(enum.Enum):
    SAD = 1
    FINE = 2


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", sa.Enum(Mood)))
    op.bulk_insert(things, [{"n": 1, "x": Mood.FINE}])
