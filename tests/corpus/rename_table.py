# same
"""A table renamed, with its index."""

from alembic import op


def upgrade():
    op.rename_table("people", "persons")
    op.execute("ALTER INDEX people_pkey RENAME TO persons_pkey")


def downgrade():
    op.rename_table("persons", "people")
    op.execute("ALTER INDEX persons_pkey RENAME TO people_pkey")
