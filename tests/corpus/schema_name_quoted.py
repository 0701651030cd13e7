# refused: schema 'public'
"""Another schema's table, quoted."""

from alembic import op


def upgrade():
    op.execute('SELECT * FROM "public"."things"')
