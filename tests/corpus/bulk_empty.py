# same
"""No rows."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.bulk_insert(sa.table("people", sa.column("name", sa.Text)), [])
