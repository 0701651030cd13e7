# online
"""An index that is built beside writes."""

from alembic import op

online = True
idempotent = True


def upgrade():
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS by_age ON people (age)")


def upgrade_empty():
    op.create_index("by_age", "people", ["age"])


def downgrade():
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS by_age")
