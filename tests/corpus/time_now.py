# refused: something else each time
"""A time that Python tells."""

import datetime as dt

from alembic import op


def upgrade():
    op.execute(f"UPDATE people SET name = '{dt.datetime.now(dt.UTC)}'")
