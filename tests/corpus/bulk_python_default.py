# refused: default that Python computes
"""A default that Python computes."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    things = op.create_table(
        "things", sa.Column("a", sa.Integer()), sa.Column("b", sa.Integer(), default=lambda: 5)
    )
    op.bulk_insert(things, [{"a": 1}])
