# same
"""Dollar-quoted text that is data, not code."""

from alembic import op


def upgrade():
    op.execute("COMMENT ON TABLE people IS $$see wiki.people; GRANT is in shop.orders, don't$$")
    op.execute("INSERT INTO people (name) VALUES ($x$he said: foo.bar$x$)")
