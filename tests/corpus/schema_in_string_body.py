# refused: schema 'shared'
"""Another schema's table in a body that is an ordinary string."""

from alembic import op


def upgrade():
    op.execute("CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM shared.tenants'")
