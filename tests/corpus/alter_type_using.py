# same
"""A column's type changed with USING."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.alter_column("people", "age", type_=sa.Text(), postgresql_using="age::text")


def downgrade():
    op.alter_column("people", "age", type_=sa.Integer(), postgresql_using="age::integer")
