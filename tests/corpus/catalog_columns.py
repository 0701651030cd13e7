# refused: information_schema shows the objects of all tenants
"""A look for a column, in every schema."""

from alembic import op


def upgrade():
    op.execute("""
        DO $$ BEGIN
            IF NOT EXISTS (SELECT 1 FROM information_schema.columns WHERE column_name = 'zip') THEN
                ALTER TABLE people ADD COLUMN zip text;
            END IF;
        END $$
    """)
