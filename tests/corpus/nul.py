# refused: NUL
"""A character that PostgreSQL cannot store."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.execute(sa.text("UPDATE people SET name = :name").bindparams(name="a\0b"))
