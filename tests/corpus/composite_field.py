# same
"""Fields of a column whose type is composite."""

from alembic import op


def upgrade():
    op.execute("CREATE TYPE address AS (street text, zip text)")
    op.execute("ALTER TABLE people ADD COLUMN home address")
    op.execute("UPDATE people SET home.street = 'x', home.zip = 'y' WHERE id = 1")
    op.execute("CREATE TABLE streets AS SELECT (home).zip, (p.home).street FROM people p")
