# same
"""Paths, keys and containment of JSON in Core statements."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg


def upgrade():
    op.add_column("people", sa.Column("j", pg.JSONB(), server_default='{"a b": [{"c:d": "x"}]}'))
    people = sa.table(
        "people", sa.column("id", sa.Integer), sa.column("j", pg.JSONB), sa.column("name", sa.Text)
    )
    op.execute(people.update().values(name=people.c.j[("a b", 0, "c:d")].astext).where(people.c.id < 3))
    op.execute(
        people.update()
        .where(people.c.j.has_key("a b"), people.c.j.contains({"a b": [{"c:d": "x"}]}))
        .values(j=people.c.j.op("||")(sa.cast({"more": [1, None]}, pg.JSONB)))
    )
