# refused: schema 'public'
"""A schema whose name is a column's too."""

from alembic import op


def upgrade():
    op.execute("ALTER TABLE people ADD COLUMN public boolean")
    op.execute(
        "INSERT INTO people (name, public) SELECT p.name, true FROM people JOIN public.people AS p ON true"
    )
