# same
"""A domain with a check."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.execute("CREATE DOMAIN email AS text CONSTRAINT at CHECK (VALUE ~ '@')")
    op.add_column("people", sa.Column("email", sa.Text()))
    op.execute("ALTER TABLE people ALTER COLUMN email TYPE email")
