# refused: Identity
"""A serial column, as SQLAlchemy makes it where Identity is left out."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.create_table("numbered", sa.Column("id", sa.Integer(), primary_key=True))
