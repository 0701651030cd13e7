# same
"""Names before a dot that are no schemas."""

from alembic import op


def upgrade():
    op.execute(
        "UPDATE people AS p SET age = q.age FROM people q WHERE q.id = p.id AND extract(year FROM now()) > 0"
    )
    op.execute(
        "INSERT INTO people (id, name) OVERRIDING SYSTEM VALUE VALUES (1, 'x') "
        "ON CONFLICT (id) DO UPDATE SET name = excluded.name"
    )
    op.execute(
        "SELECT pg_catalog.now(), table_name FROM information_schema.tables WHERE table_schema = current_schema"
    )
