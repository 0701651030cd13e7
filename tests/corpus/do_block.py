# same
"""A DO block with a loop."""

from alembic import op


def upgrade():
    op.execute("""
        DO $$
        DECLARE row record;
        BEGIN
            FOR row IN SELECT id FROM people ORDER BY id LOOP
                UPDATE people SET age = row.id * 10 WHERE id = row.id;
            END LOOP;
        END $$
    """)
