# same
"""Alembic's batch operations."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    with op.batch_alter_table("people") as batch:
        batch.add_column(sa.Column("extra", sa.Integer()))
        batch.create_index("by_extra", ["extra"])
