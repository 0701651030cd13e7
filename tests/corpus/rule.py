# same
"""A rule with two commands."""

from alembic import op


def upgrade():
    op.execute("CREATE TABLE log (who text)")
    op.execute(
        "CREATE RULE kept AS ON DELETE TO people"
        " DO ALSO (INSERT INTO log VALUES (old.name); INSERT INTO log VALUES ('gone'))"
    )
    op.execute("DELETE FROM people WHERE age IS NULL")
