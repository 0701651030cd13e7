# refused: CREATE PUBLICATION
"""What has one name in the whole database."""

from alembic import op


def upgrade():
    op.execute("CREATE PUBLICATION everything FOR TABLE people")
