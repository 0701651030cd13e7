# refused: OWNER TO
"""Another owner."""

from alembic import op


def upgrade():
    op.execute("ALTER TABLE people OWNER TO tenantry_app")
