# refused: schema 'shared'
"""A schema whose name is an alias too."""

from alembic import op


def upgrade():
    op.execute("INSERT INTO people (name) SELECT t.slug AS shared FROM shared.tenants AS t")
