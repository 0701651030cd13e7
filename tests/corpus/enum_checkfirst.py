# refused: checkfirst
"""A look whether the enum is there."""

from alembic import op
from sqlalchemy.dialects import postgresql as pg


def upgrade():
    pg.ENUM("sad", "fine", name="mood").create(op.get_bind())
