# refused: schema 'other'
"""A table of another schema."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.create_table("things", sa.Column("id", sa.Integer()), schema="other")
