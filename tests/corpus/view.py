# same
"""A view and a materialized view."""

from alembic import op


def upgrade():
    op.execute("CREATE VIEW adults AS SELECT p.id, p.name FROM people p WHERE p.age >= 18")
    op.execute("CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM people")
    op.execute("CREATE UNIQUE INDEX counted_n ON counted (n)")
    op.execute("REFRESH MATERIALIZED VIEW counted")
