"""Rollouts of the fleet, and how far each tenant in them is."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "d94b61e07f35"
down_revision = "a8d2f5b7c913"
branch_labels = None
depends_on = None
# The oldest revision whose code still works with this one.
compatible_from = "d6ba8c13303e"


def upgrade():
    _create_rollouts()
    _create_rollout_tenants()


def _create_rollouts() -> None:
    op.create_table(
        "rollouts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("target", sa.String(length=32), nullable=True),
        sa.Column("task", sa.Text(), nullable=True),
        sa.Column("arguments", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("canary", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("wave", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.Column("rate", sa.Integer(), nullable=True),
        sa.Column("max_failures", sa.Integer(), nullable=False),
        sa.Column("bake_time", sa.Double(), nullable=False),
        sa.Column("filter", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'planned'"), nullable=False),
        sa.Column("current_wave", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("waves", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("wave_failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("baked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('planned', 'running', 'paused', 'halted', 'finished', 'aborted')",
            name=op.f("ck_rollouts_status"),
        ),
        sa.CheckConstraint("(target IS NULL) <> (task IS NULL)", name=op.f("ck_rollouts_what")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollouts")),
        schema="shared",
    )
    op.create_index(
        "uq_rollouts_open",
        "rollouts",
        [sa.literal_column("(true)")],
        unique=True,
        schema="shared",
        postgresql_where=sa.text("status NOT IN ('finished', 'aborted')"),
    )


def _create_rollout_tenants() -> None:
    op.create_table(
        "rollout_tenants",
        sa.Column("rollout_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("wave", sa.Integer(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "available_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("error_class", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('waiting', 'running', 'done', 'skipped', 'failed')",
            name=op.f("ck_rollout_tenants_status"),
        ),
        sa.PrimaryKeyConstraint("rollout_id", "tenant_id", name=op.f("pk_rollout_tenants")),
        schema="shared",
    )
    op.create_index(
        "ix_rollout_tenants_open",
        "rollout_tenants",
        ["rollout_id", "wave", "tenant_id"],
        schema="shared",
        postgresql_where=sa.text("status IN ('waiting', 'running')"),
    )


def downgrade():
    op.drop_index("ix_rollout_tenants_open", table_name="rollout_tenants", schema="shared")
    op.drop_table("rollout_tenants", schema="shared")
    op.drop_index("uq_rollouts_open", table_name="rollouts", schema="shared")
    op.drop_table("rollouts", schema="shared")
