# same
"""A function with a BEGIN ATOMIC body of several statements."""

from alembic import op


def upgrade():
    op.execute("""
        CREATE FUNCTION aged(from_age integer) RETURNS bigint LANGUAGE sql
        BEGIN ATOMIC
            SELECT CASE WHEN from_age > 0 THEN 1 ELSE 0 END;
            SELECT count(*) FROM people WHERE age >= from_age;
        END
    """)
    op.execute("CREATE TABLE answers AS SELECT aged(18) AS n")
