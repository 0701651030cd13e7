# same
"""Arrays, with quotes and nulls."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", sa.ARRAY(sa.Text())))
    op.bulk_insert(
        things, [{"n": 1, "x": ["a", "it's", 'q"x', "b\\s", None, "NULL", "", "{,}"]}, {"n": 2, "x": []}]
    )
