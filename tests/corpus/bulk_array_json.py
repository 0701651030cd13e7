# same
"""Arrays of JSON."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", sa.ARRAY(pg.JSONB())))
    op.bulk_insert(things, [{"n": 1, "x": [{"a": "it's"}, [1]]}])
