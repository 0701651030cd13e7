# same
"""Truth values."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", sa.Boolean()))
    op.bulk_insert(things, [{"n": 1, "x": True}, {"n": 2, "x": False}, {"n": 3, "x": None}])
