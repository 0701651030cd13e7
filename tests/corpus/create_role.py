# refused: CREATE ROLE
"""A role."""

from alembic import op


def upgrade():
    op.execute("CREATE ROLE somebody")
