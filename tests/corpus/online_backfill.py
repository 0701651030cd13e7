# online
"""A backfill that looks at rows."""

import sqlalchemy as sa
from alembic import op

online = True
idempotent = True


def upgrade():
    for row in op.get_bind().execute(sa.text("SELECT id, name FROM people ORDER BY id")):
        op.get_bind().execute(
            sa.text("UPDATE people SET name = :name WHERE id = :id"), {"name": row.name.upper(), "id": row.id}
        )


def upgrade_empty():
    op.execute("UPDATE people SET name = upper(name)")
