# refused: SET role
"""Another role."""

from alembic import op


def upgrade():
    op.execute("SET ROLE tenantry_app")
