# same
"""A generic enum made by itself."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    sa.Enum("sad", "fine", name="mood").create(op.get_bind(), checkfirst=False)
