# same
"""Statements that a body puts together, and FROM that is no table's."""

from alembic import op


def upgrade():
    op.execute("""
        DO $$
        DECLARE one record;
        BEGIN
            <<each>>
            FOR one IN SELECT p.id, substring(p.name FROM 1 FOR 2) AS start FROM people p
                       WHERE p.name IS DISTINCT FROM p.age::text LOOP
                EXECUTE format('UPDATE %I.people SET name = %L WHERE id = %s', current_schema(), one.start, one.id);
            END LOOP each;
        END $$
    """)
