# refused: give its column a type
"""A value that only a type can write."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.bulk_insert(sa.table("people", sa.column("name")), [{"name": ["a"]}])
