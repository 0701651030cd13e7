# same
"""Rows one by one, with an SQL expression."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    people = sa.table("people", sa.column("name", sa.Text), sa.column("age", sa.Integer))
    op.bulk_insert(people, [{"name": "x"}, {"name": sa.func.upper("y"), "age": 3}], multiinsert=False)
