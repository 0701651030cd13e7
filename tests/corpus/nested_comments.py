# same
"""Nested comments with what would end a statement."""

from alembic import op


def upgrade():
    op.execute("/* a /* nested; COMMIT */ comment; */ UPDATE people SET age = 1 -- ; ROLLBACK")
    op.execute("UPDATE people SET age = age + 1 -- the last line")
