# same
"""JSON, with a null of JSON."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", sa.JSON()))
    op.bulk_insert(
        things,
        [
            {"n": 1, "x": {"a": [1, None, "it's"], "b": {"c": 1.5}}},
            {"n": 2, "x": []},
            {"n": 3, "x": "text"},
            {"n": 4, "x": None},
            {"n": 5, "x": 0},
        ],
    )
