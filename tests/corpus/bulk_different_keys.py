# refused: same keys
"""Rows with different keys."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table("things", sa.Column("a", sa.Integer()), sa.Column("b", sa.Integer()))
    op.bulk_insert(things, [{"a": 1}, {"a": 1, "b": 2}])
