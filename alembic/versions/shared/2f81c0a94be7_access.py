"""Access: bearer tokens, idempotency keys and the audit log."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2f81c0a94be7"
down_revision = "d6ba8c13303e"
branch_labels = None
depends_on = None
# The oldest revision whose code still works with this one.
compatible_from = "d6ba8c13303e"


def upgrade():
    create_tokens()
    create_audit_log()
    create_triggers()


def create_tokens() -> None:
    op.create_table(
        "access_tokens",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(kind = 'operator') = (tenant_id IS NULL)", name=op.f("ck_access_tokens_tenant")),
        sa.CheckConstraint("(kind = 'user') = (user_id IS NOT NULL)", name=op.f("ck_access_tokens_user")),
        sa.CheckConstraint("kind IN ('tenant', 'user', 'operator')", name=op.f("ck_access_tokens_kind")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["shared.tenants.id"], name=op.f("fk_access_tokens_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_tokens")),
        schema="shared",
    )
    op.create_index(
        op.f("ix_access_tokens_tenant_id"), "access_tokens", ["tenant_id"], unique=False, schema="shared"
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("body_hash", sa.LargeBinary(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("token_id", sa.String(length=26), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["shared.tenants.id"], name=op.f("fk_idempotency_keys_tenant_id")
        ),
        sa.PrimaryKeyConstraint("key_hash", name=op.f("pk_idempotency_keys")),
        schema="shared",
    )


def create_audit_log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column(
            "detail", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
        schema="shared",
    )
    op.create_index("ix_audit_log_tenant", "audit_log", ["tenant_id", "id"], unique=False, schema="shared")


def create_triggers() -> None:
    # A token's use is noted in last_used_at, which changes nothing that anybody remembers.
    op.execute("""
        CREATE TRIGGER tell_registry
        AFTER UPDATE OF revoked_at, expires_at, scopes OR DELETE ON shared.access_tokens
        FOR EACH STATEMENT EXECUTE FUNCTION shared.tell_registry()
    """)
    op.execute("""
        CREATE FUNCTION shared.refuse_change() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION '%.% is append-only', TG_TABLE_SCHEMA, TG_TABLE_NAME
           USING ERRCODE = 'insufficient_privilege'; END $$
    """)
    op.execute("""
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON shared.audit_log
        FOR EACH STATEMENT EXECUTE FUNCTION shared.refuse_change()
    """)


def downgrade():
    op.execute("DROP TRIGGER append_only ON shared.audit_log")
    op.execute("DROP FUNCTION shared.refuse_change()")
    op.execute("DROP TRIGGER tell_registry ON shared.access_tokens")
    op.drop_table("audit_log", schema="shared")
    op.drop_table("idempotency_keys", schema="shared")
    op.drop_table("access_tokens", schema="shared")
