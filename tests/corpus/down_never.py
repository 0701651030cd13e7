# same
"""A revision that cannot be taken back."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.add_column("people", sa.Column("kind", sa.Text()))


def downgrade():
    raise NotImplementedError
