# same
"""Text of all sorts."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", sa.Text()))
    op.bulk_insert(
        things,
        [
            {"n": 1, "x": "it's"},
            {"n": 2, "x": "a\\b"},
            {"n": 3, "x": "50% :x $1"},
            {"n": 4, "x": "%(x)s"},
            {"n": 5, "x": "tab\there\nline"},
            {"n": 6, "x": "Zoë 🚲"},
            {"n": 7, "x": ""},
            {"n": 8, "x": None},
        ],
    )
