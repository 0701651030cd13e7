# same
"""Generated columns, stored and virtual."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.add_column("people", sa.Column("loud", sa.Text(), sa.Computed("upper(name)", persisted=True)))
    op.execute("ALTER TABLE people ADD COLUMN twice integer GENERATED ALWAYS AS (age * 2) VIRTUAL")
