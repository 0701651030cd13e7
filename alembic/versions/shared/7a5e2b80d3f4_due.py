"""Rows that are due are found by kind: a backlog of events no longer hides the commands, nor they them."""

import sqlalchemy as sa
from alembic import op

revision = "7a5e2b80d3f4"
down_revision = "1d94c6f0b27e"
branch_labels = None
depends_on = None
# The oldest revision whose code still works with this one.
compatible_from = "d6ba8c13303e"

_PENDING = sa.text("status = 'pending'")


def upgrade():
    op.create_index(
        "ix_messages_due_by_kind",
        "messages",
        ["kind", sa.literal_column("priority DESC"), "id"],
        unique=False,
        schema="shared",
        postgresql_where=_PENDING,
    )
    op.drop_index("ix_messages_due", "messages", schema="shared")


def downgrade():
    op.create_index(
        "ix_messages_due",
        "messages",
        [sa.literal_column("priority DESC"), "id"],
        unique=False,
        schema="shared",
        postgresql_where=_PENDING,
    )
    op.drop_index("ix_messages_due_by_kind", "messages", schema="shared")
