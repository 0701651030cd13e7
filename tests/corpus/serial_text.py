# refused: Identity
"""A serial column, as text."""

from alembic import op


def upgrade():
    op.execute("CREATE TABLE numbered (id bigserial PRIMARY KEY)")
