# same
"""A tab within a literal stays a tab."""

from alembic import op


def upgrade():
    op.execute("INSERT INTO people (name) VALUES ('a\tb')")
