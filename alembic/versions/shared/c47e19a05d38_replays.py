"""Bulk replays, and what operators look messages up by."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "c47e19a05d38"
down_revision = "9b3d57e61c20"
branch_labels = None
depends_on = None
# The oldest revision whose code still works with this one.
compatible_from = "d6ba8c13303e"


def upgrade():
    op.add_column("messages", sa.Column("frame", sa.Text(), nullable=True), schema="shared")
    op.create_index(
        "ix_messages_caused_by",
        "messages",
        ["caused_by"],
        unique=False,
        schema="shared",
        postgresql_where=sa.text("caused_by IS NOT NULL"),
    )
    op.create_index(
        "ix_audit_log_message",
        "audit_log",
        [sa.literal_column("(detail ->> 'message_id')")],
        unique=False,
        schema="shared",
        postgresql_where=sa.text("detail ? 'message_id'"),
    )
    op.create_table(
        "replays",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("filter", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("rate", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), server_default="0", nullable=False),
        sa.Column("skipped", sa.Integer(), server_default="0", nullable=False),
        sa.Column("status", sa.Text(), server_default="running", nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('running', 'finished', 'cancelled')", name=op.f("ck_replays_status")),
        sa.CheckConstraint("rate > 0", name=op.f("ck_replays_rate")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replays")),
        schema="shared",
    )
    op.create_index(
        "ix_replays_running",
        "replays",
        ["next_at"],
        unique=False,
        schema="shared",
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_table(
        "replay_messages",
        sa.Column("replay_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["replay_id"], ["shared.replays.id"], name=op.f("fk_replay_messages_replay_id")
        ),
        sa.PrimaryKeyConstraint("replay_id", "message_id", name=op.f("pk_replay_messages")),
        schema="shared",
    )


def downgrade():
    op.drop_table("replay_messages", schema="shared")
    op.drop_table("replays", schema="shared")
    op.drop_index("ix_audit_log_message", "audit_log", schema="shared")
    op.drop_index("ix_messages_caused_by", "messages", schema="shared")
    op.drop_column("messages", "frame", schema="shared")
