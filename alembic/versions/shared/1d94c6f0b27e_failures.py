"""Every failed attempt at a message, where only the last one was kept."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "1d94c6f0b27e"
down_revision = "c47e19a05d38"
branch_labels = None
depends_on = None
# The oldest revision whose code still works with this one.
compatible_from = "d6ba8c13303e"


def upgrade():
    op.add_column(
        "messages",
        sa.Column(
            "failures",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'"),
            nullable=False,
        ),
        schema="shared",
    )


def downgrade():
    op.drop_column("messages", "failures", schema="shared")
