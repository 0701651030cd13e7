# refused: SET search_path
"""A path of a function's own."""

from alembic import op


def upgrade():
    op.execute("CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path TO '' AS 'SELECT 1'")
