# same
"""Dollar quotes within dollar quotes."""

from alembic import op


def upgrade():
    op.execute("""
        CREATE FUNCTION deep() RETURNS text LANGUAGE plpgsql AS $outer$
        BEGIN
            RETURN $inner$ it's; BEGIN; $$ $inner$;
        END $outer$
    """)
    op.execute("UPDATE people SET name = deep()")
