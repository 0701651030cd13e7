# same
"""An upgrade that is no function."""

import functools

from alembic import op


def _aged(years):
    op.execute(f"UPDATE people SET age = {years}")


upgrade = functools.partial(_aged, 4)
