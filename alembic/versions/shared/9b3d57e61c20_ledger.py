"""The ledger of messages, the provisioners' heartbeats and the operators' switches."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "9b3d57e61c20"
down_revision = "2f81c0a94be7"
branch_labels = None
depends_on = None
# The oldest revision whose code still works with this one.
compatible_from = "d6ba8c13303e"


def upgrade():
    create_messages()
    create_indexes()
    create_neighbours()
    create_triggers()


def create_messages() -> None:
    op.create_table(
        "messages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=True),
        sa.Column("tenant_version", sa.Integer(), nullable=True),
        sa.Column("priority", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("raw_body", sa.LargeBinary(), nullable=True),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("deliveries", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "available_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("handled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("error_class", sa.Text(), nullable=True),
        sa.Column("traceback", sa.Text(), nullable=True),
        sa.Column("replays", sa.Integer(), server_default="0", nullable=False),
        sa.Column("caused_by", sa.Uuid(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("source_id", sa.Text(), nullable=True),
        sa.Column("body_hash", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('command', 'event')", name=op.f("ck_messages_kind")),
        sa.CheckConstraint(
            "status IN ('pending', 'published', 'handled', 'parked', 'archived', 'superseded')",
            name=op.f("ck_messages_status"),
        ),
        sa.CheckConstraint("payload IS NOT NULL OR raw_body IS NOT NULL", name=op.f("ck_messages_body")),
        sa.ForeignKeyConstraint(["tenant_id"], ["shared.tenants.id"], name=op.f("fk_messages_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        schema="shared",
    )


def create_indexes() -> None:
    op.create_index(
        "ix_messages_due",
        "messages",
        [sa.literal_column("priority DESC"), "id"],
        unique=False,
        schema="shared",
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "ix_messages_in_flight",
        "messages",
        ["published_at"],
        unique=False,
        schema="shared",
        postgresql_where=sa.text("kind = 'command' AND status = 'published'"),
    )
    op.create_index(
        "ix_messages_open",
        "messages",
        ["tenant_id", "tenant_version"],
        unique=False,
        schema="shared",
        postgresql_where=sa.text("status = 'pending' OR (status = 'published' AND kind = 'command')"),
    )
    op.create_index("ix_messages_status", "messages", ["status", "id"], unique=False, schema="shared")
    op.create_index("ix_messages_tenant", "messages", ["tenant_id", "id"], unique=False, schema="shared")
    op.create_index(
        "uq_messages_source_id", "messages", ["source", "source_id"], unique=True, schema="shared"
    )
    op.create_index(
        "uq_messages_unknown_body",
        "messages",
        ["body_hash"],
        unique=True,
        schema="shared",
        postgresql_where=sa.text("type = 'unknown'"),
    )


def create_neighbours() -> None:
    op.create_table(
        "heartbeats",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("process", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("broker", sa.Text(), nullable=False),
        sa.Column("in_hand", sa.Integer(), server_default="0", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_heartbeats")),
        schema="shared",
    )
    op.create_table(
        "switches",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("changed_by", sa.Text(), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_switches")),
        schema="shared",
    )


def create_triggers() -> None:
    # Wakes the relay; the payload stays empty, since anybody connected can listen.
    op.execute("""
        CREATE FUNCTION shared.tell_ledger() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NOTIFY tenantry_ledger; RETURN NULL; END $$
    """)
    op.execute("""
        CREATE TRIGGER tell_new AFTER INSERT ON shared.messages
        FOR EACH STATEMENT EXECUTE FUNCTION shared.tell_ledger()
    """)
    op.execute("""
        CREATE TRIGGER tell_open AFTER UPDATE OF status ON shared.messages
        FOR EACH ROW WHEN (NEW.status <> OLD.status AND NEW.status <> 'published')
        EXECUTE FUNCTION shared.tell_ledger()
    """)
    op.execute("""
        CREATE TRIGGER tell_switch AFTER INSERT OR UPDATE ON shared.switches
        FOR EACH STATEMENT EXECUTE FUNCTION shared.tell_ledger()
    """)


def downgrade():
    for trigger, table in (("tell_switch", "switches"), ("tell_open", "messages"), ("tell_new", "messages")):
        op.execute(f"DROP TRIGGER {trigger} ON shared.{table}")
    op.execute("DROP FUNCTION shared.tell_ledger()")
    op.drop_table("switches", schema="shared")
    op.drop_table("heartbeats", schema="shared")
    op.drop_table("messages", schema="shared")
