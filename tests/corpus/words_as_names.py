# same
"""Columns and tables that are named as what a revision must not do."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.execute("ALTER TABLE people RENAME COLUMN name TO owner")
    op.alter_column("people", "owner", new_column_name="keeper")
    op.create_table("sequence", sa.Column("start", sa.Text()), sa.Column("load", sa.Text()))
    op.execute("""
        DO $$
        DECLARE release int := 1; copy text;
        BEGIN
            release := release + 1;
            INSERT INTO sequence (start) SELECT CASE WHEN age > 1 THEN load ELSE start END FROM people, sequence;
            SELECT load INTO copy FROM sequence LIMIT 1;
            IF copy IS NULL THEN UPDATE people SET age = release; END IF;
        END $$
    """)
