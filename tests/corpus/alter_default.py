# same
"""A default set and taken away."""

from alembic import op


def upgrade():
    op.alter_column("people", "age", server_default="18")
    op.alter_column("people", "name", server_default=None)
