# same
"""Big integers."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", sa.BigInteger()))
    op.bulk_insert(things, [{"n": 1, "x": -9223372036854775808}, {"n": 2, "x": 9007199254740993}])
