# same
"""Constraints of every kind, added and dropped."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.create_check_constraint("grown", "people", sa.column("age") > 5)
    op.create_unique_constraint("named", "people", ["name", "age"])
    op.create_exclude_constraint("apart", "people", ("name", "="), ("age", "="), using="btree")
    op.drop_constraint("named", "people")
    op.create_table_comment("people", "100% of: 'them'")
