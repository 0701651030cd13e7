# refused: ALTER DEFAULT PRIVILEGES
"""Rights on what comes."""

from alembic import op


def upgrade():
    op.execute("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC")
