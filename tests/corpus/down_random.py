# refused: something else each time
"""A downgrade that draws a value."""

import uuid

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.add_column("people", sa.Column("kind", sa.Text()))


def downgrade():
    op.execute(f"UPDATE people SET name = '{uuid.uuid4()}'")
    op.drop_column("people", "kind")
