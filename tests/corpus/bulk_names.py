# same
"""Columns with names that are not plain."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table(
        "odd things", sa.Column("gamma ray", sa.Text()), sa.Column("a:b%c", sa.Integer())
    )
    op.bulk_insert(things, [{"gamma ray": "x", "a:b%c": 1}, {"gamma ray": None, "a:b%c": 2}])
    op.execute(things.update().where(things.c["gamma ray"].in_(["x", "y"])).values({"a:b%c": 3}))
