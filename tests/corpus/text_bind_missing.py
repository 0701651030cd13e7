# refused: :yy
"""A colon in text that is no parameter."""

from alembic import op


def upgrade():
    op.execute("UPDATE people SET name = to_char(now(), 'HH :yy')")
