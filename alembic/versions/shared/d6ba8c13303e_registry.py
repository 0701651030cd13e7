"""The registry: tenants, their hosts, whose e-mail is whose, and administrators in waiting."""

import sqlalchemy as sa
from alembic import op

revision = "d6ba8c13303e"
down_revision = None
branch_labels = ("shared",)
depends_on = None
# The oldest revision whose code still works with this one.
compatible_from = "d6ba8c13303e"


def upgrade():
    create_tenants()
    create_hosts()
    create_people()
    create_triggers()


def create_tenants() -> None:
    op.create_table(
        "tenants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("slug", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("schema_name", sa.String(length=63), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("status_before", sa.Text(), nullable=True),
        sa.Column("revision", sa.Text(), nullable=True),
        sa.Column("compatible_from", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("claim_hash", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("purge_after", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("schema_name ~ '^t_[a-z2-7]{16}$'", name=op.f("ck_tenants_schema_name")),
        sa.CheckConstraint(
            "status IN ('pending', 'provisioning', 'active', 'failed', 'suspended', 'deleted', 'purging', 'purged')",
            name=op.f("ck_tenants_status"),
        ),
        sa.CheckConstraint(
            "status_before IN ('pending', 'provisioning', 'active', 'failed', 'suspended', 'deleted', 'purging', 'purged')",
            name=op.f("ck_tenants_status_before"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
        sa.UniqueConstraint("schema_name", name=op.f("uq_tenants_schema_name")),
        schema="shared",
    )
    op.create_index(
        "uq_tenants_slug_taken",
        "tenants",
        ["slug"],
        unique=True,
        schema="shared",
        postgresql_where=sa.text("status <> 'purged'"),
    )


def create_hosts() -> None:
    op.create_table(
        "tenant_hosts",
        sa.Column("host", sa.String(length=253), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["shared.tenants.id"], name=op.f("fk_tenant_hosts_tenant_id")),
        sa.PrimaryKeyConstraint("host", name=op.f("pk_tenant_hosts")),
        schema="shared",
    )
    op.create_index(
        op.f("ix_tenant_hosts_tenant_id"), "tenant_hosts", ["tenant_id"], unique=False, schema="shared"
    )


def create_people() -> None:
    op.create_table(
        "shared_users",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("email", sa.String(length=256), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["shared.tenants.id"], name=op.f("fk_shared_users_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shared_users")),
        sa.UniqueConstraint("email", name=op.f("uq_shared_users_email")),
        schema="shared",
    )
    op.create_index(
        op.f("ix_shared_users_tenant_id"), "shared_users", ["tenant_id"], unique=False, schema="shared"
    )
    op.create_table(
        "pending_admins",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.String(length=256), nullable=False),
        sa.Column("first_name", sa.String(length=100), nullable=True),
        sa.Column("last_name", sa.String(length=100), nullable=True),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["shared.tenants.id"], name=op.f("fk_pending_admins_tenant_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_pending_admins")),
        schema="shared",
    )


def create_triggers() -> None:
    op.execute("""
        CREATE FUNCTION shared.tell_registry() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NOTIFY tenantry_registry; RETURN NULL; END $$
    """)
    for table in ("tenants", "tenant_hosts"):
        op.execute(f"""
            CREATE TRIGGER tell_registry AFTER INSERT OR UPDATE OR DELETE ON shared.{table}
            FOR EACH STATEMENT EXECUTE FUNCTION shared.tell_registry()
        """)


def downgrade():
    for table in ("tenant_hosts", "tenants"):
        op.execute(f"DROP TRIGGER tell_registry ON shared.{table}")
    op.execute("DROP FUNCTION shared.tell_registry()")
    op.drop_table("pending_admins", schema="shared")
    op.drop_table("shared_users", schema="shared")
    op.drop_table("tenant_hosts", schema="shared")
    op.drop_table("tenants", schema="shared")
