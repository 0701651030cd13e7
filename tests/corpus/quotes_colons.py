# same
"""Quotes, colons, percent signs, backslashes and other alphabets in text."""

from alembic import op


def upgrade():
    op.execute("INSERT INTO people (name) VALUES ('it''s 10\\:30, 50%, c:\\temp')")
    op.execute("INSERT INTO people (name) VALUES (E'a\\tb\\\\c')")
    op.execute("INSERT INTO people (name) VALUES ('Zoë 🚲 Ελλάδα')")
    op.execute("INSERT INTO people (name) VALUES ('\"quoted\"')")
    op.execute("UPDATE people SET name = '%(name)s %s %%' WHERE age::int = 30")
