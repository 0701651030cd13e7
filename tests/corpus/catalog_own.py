# same
"""A look into the catalog that stays in the own schema."""

from alembic import op


def upgrade():
    op.execute("""
        DO $$ BEGIN
            IF NOT EXISTS (
                SELECT FROM information_schema.columns
                WHERE table_schema = current_schema() AND table_name = 'people' AND column_name = 'zip'
            ) THEN
                ALTER TABLE people ADD COLUMN zip text;
            END IF;
        END $$
    """)
