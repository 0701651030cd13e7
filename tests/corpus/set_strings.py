# refused: a script is read as a whole
"""A setting that changes how strings are read."""

from alembic import op


def upgrade():
    op.execute("SET LOCAL standard_conforming_strings = off")
