# same
"""Hardware addresses."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", pg.MACADDR()))
    op.bulk_insert(things, [{"n": 1, "x": "08:00:2b:01:02:03"}])
