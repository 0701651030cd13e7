"""Two notices where there was one: what is remembered may be wrong, and something went on.

The API remembers active tenants alone. While tenants are provisioned, a dozen changes each made it forget all.
"""

from alembic import op

revision = "e3a91b7c5d02"
down_revision = "b60f3c8e91d7"
branch_labels = None
depends_on = None
# The oldest revision whose code still works with this one.
compatible_from = "d6ba8c13303e"


def upgrade():
    op.execute("DROP TRIGGER tell_registry ON shared.tenants")
    op.execute("""
        CREATE TRIGGER tell_registry AFTER UPDATE ON shared.tenants
        FOR EACH ROW WHEN (OLD.status = 'active') EXECUTE FUNCTION shared.tell_registry()
    """)
    op.execute("""
        CREATE TRIGGER tell_registry_gone AFTER DELETE ON shared.tenants
        FOR EACH STATEMENT EXECUTE FUNCTION shared.tell_registry()
    """)
    op.execute("""
        CREATE FUNCTION shared.tell_progress() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NOTIFY tenantry_progress; RETURN NULL; END $$
    """)
    op.execute("""
        CREATE TRIGGER tell_progress AFTER INSERT OR UPDATE OR DELETE ON shared.tenants
        FOR EACH STATEMENT EXECUTE FUNCTION shared.tell_progress()
    """)


def downgrade():
    op.execute("DROP TRIGGER tell_progress ON shared.tenants")
    op.execute("DROP FUNCTION shared.tell_progress()")
    op.execute("DROP TRIGGER tell_registry_gone ON shared.tenants")
    op.execute("DROP TRIGGER tell_registry ON shared.tenants")
    op.execute("""
        CREATE TRIGGER tell_registry AFTER INSERT OR UPDATE OR DELETE ON shared.tenants
        FOR EACH STATEMENT EXECUTE FUNCTION shared.tell_registry()
    """)
