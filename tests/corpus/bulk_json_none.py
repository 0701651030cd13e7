# same
"""JSON's none as NULL."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table(
        "things", sa.Column("n", sa.Integer()), sa.Column("x", sa.JSON(none_as_null=True))
    )
    op.bulk_insert(things, [{"n": 1, "x": None}, {"n": 2, "x": {}}])
