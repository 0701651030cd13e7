# same
"""Defaults of SQLAlchemy that are values."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table(
        "things",
        sa.Column("n", sa.Integer()),
        sa.Column("ok", sa.Boolean(), default=True),
        sa.Column("an enum", sa.Enum("a", "b", name="letter"), default="b", key="letter"),
        sa.Column("x", sa.JSON(), default={"a": 1}, onupdate=[2]),
    )
    op.bulk_insert(things, [{"n": 1}, {"n": 2}])
    op.execute(things.insert().values([{"n": 3}, {"n": 4}]))
    op.execute(things.insert().from_select(["n"], sa.select(sa.literal(5))))
    op.execute(things.update().where(things.c.n == 2).values(n=6))
