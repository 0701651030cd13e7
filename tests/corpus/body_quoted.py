# refused: schema 'shared'
"""Another schema's table in a body between single quotes."""

from alembic import op


def upgrade():
    op.execute("CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM shared.tenants'")
