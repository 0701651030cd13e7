# refused: SECURITY DEFINER
"""A function with the owner's rights."""

from alembic import op


def upgrade():
    op.execute("CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'")
