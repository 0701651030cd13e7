# same
"""A column with a default for the rows that are there."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.add_column("people", sa.Column("kind", sa.Text(), server_default="guest", nullable=False))


def downgrade():
    op.drop_column("people", "kind")
