# same
"""UUIDs."""

import uuid

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table("things", sa.Column("n", sa.Integer()), sa.Column("x", sa.Uuid()))
    op.bulk_insert(things, [{"n": 1, "x": uuid.UUID(int=5)}])
