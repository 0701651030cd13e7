# same
"""A column made mandatory, and renamed."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.execute("UPDATE people SET age = 0 WHERE age IS NULL")
    op.alter_column("people", "age", nullable=False, new_column_name="years", existing_type=sa.Integer())


def downgrade():
    op.alter_column("people", "years", nullable=True, new_column_name="age", existing_type=sa.Integer())
