# same
"""Bytes, with a zero among them."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", sa.LargeBinary()))
    op.bulk_insert(things, [{"n": 1, "x": b"\x00\xff\\'"}, {"n": 2, "x": b""}])
