# same
"""A foreign key that is validated later."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.add_column("people", sa.Column("boss", sa.Integer()))
    op.create_foreign_key("boss", "people", "people", ["boss"], ["id"], postgresql_not_valid=True)
    op.execute("ALTER TABLE people VALIDATE CONSTRAINT boss")
