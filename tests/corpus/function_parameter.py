# same
"""A parameter of a function, by its number."""

from alembic import op


def upgrade():
    op.execute("CREATE FUNCTION twice(integer) RETURNS integer LANGUAGE sql BEGIN ATOMIC SELECT $1 * 2; END")
    op.execute("CREATE FUNCTION thrice(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1 * 3'")
    op.execute("CREATE TABLE answers AS SELECT twice(2) AS two, thrice(2) AS three")
