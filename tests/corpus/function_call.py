# same
"""A function, called as a statement."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.execute(sa.func.pg_advisory_xact_lock(5))
