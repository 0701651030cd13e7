# same
"""Exact numbers, and a float with all its digits."""

from decimal import Decimal

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", sa.Numeric()))
    op.bulk_insert(
        things,
        [
            {"n": 1, "x": Decimal("-0.10")},
            {"n": 2, "x": Decimal("1E+5")},
            {"n": 3, "x": 12345678901234567890},
            {"n": 4, "x": 0.1},
            {"n": 5, "x": Decimal("NaN")},
        ],
    )
