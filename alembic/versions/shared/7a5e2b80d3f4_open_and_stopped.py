"""What is due is found by kind, what stopped by status; rows that are done with are in neither index.

A backlog of events no longer hides the commands, nor they it, and each claim and mark writes less.
"""

import sqlalchemy as sa
from alembic import op

revision = "7a5e2b80d3f4"
down_revision = "1d94c6f0b27e"
branch_labels = None
depends_on = None
# The oldest revision whose code still works with this one.
compatible_from = "d6ba8c13303e"

_PENDING = sa.text("status = 'pending'")
_STOPPED = sa.text("status IN ('parked', 'archived', 'superseded')")


def upgrade():
    op.create_index(
        "ix_messages_due_by_kind",
        "messages",
        ["kind", sa.literal_column("priority DESC"), "id"],
        unique=False,
        schema="shared",
        postgresql_where=_PENDING,
    )
    op.create_index(
        "ix_messages_stopped",
        "messages",
        ["status", "id"],
        unique=False,
        schema="shared",
        postgresql_where=_STOPPED,
    )
    op.drop_index("ix_messages_due", "messages", schema="shared")
    op.drop_index("ix_messages_status", "messages", schema="shared")


def downgrade():
    op.create_index("ix_messages_status", "messages", ["status", "id"], unique=False, schema="shared")
    op.create_index(
        "ix_messages_due",
        "messages",
        [sa.literal_column("priority DESC"), "id"],
        unique=False,
        schema="shared",
        postgresql_where=_PENDING,
    )
    op.drop_index("ix_messages_stopped", "messages", schema="shared")
    op.drop_index("ix_messages_due_by_kind", "messages", schema="shared")
