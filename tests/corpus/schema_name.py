# refused: schema 'shared'
"""Another schema's table."""

from alembic import op


def upgrade():
    op.execute("INSERT INTO people (name) SELECT slug FROM shared.tenants")
