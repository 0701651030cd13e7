# refused: pg_type shows the objects of all tenants
"""A look into the catalog that finds what another tenant has."""

from alembic import op


def upgrade():
    op.execute("""
        DO $$ BEGIN
            IF NOT EXISTS (SELECT 1 FROM pg_type WHERE typname = 'mood') THEN
                CREATE TYPE mood AS ENUM ('sad', 'fine');
            END IF;
        END $$
    """)
