"""Operators' tokens are the owner's: others may note that one was used, and nothing else.

Rights by column cannot tell an operator's row from a tenant's key, which the API inserts.
"""

from alembic import op

revision = "b60f3c8e91d7"
down_revision = "7a5e2b80d3f4"
branch_labels = None
depends_on = None
# The oldest revision whose code still works with this one.
compatible_from = "d6ba8c13303e"

# Every column but last_used_at.
_COLUMNS = "id, kind, token_hash, name, tenant_id, user_id, scopes, created_at, expires_at, revoked_at"


def upgrade():
    # The function runs as the caller, so current_user is who writes. A superuser has the owner's rights.
    op.execute("""
        CREATE FUNCTION shared.refuse_operator() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN
          IF NOT pg_catalog.pg_has_role(current_user,
            (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = TG_RELID), 'USAGE') THEN
            RAISE EXCEPTION 'operators'' tokens are the owner''s' USING ERRCODE = 'insufficient_privilege';
          END IF;
          RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER operator_made BEFORE INSERT ON shared.access_tokens
        FOR EACH ROW WHEN (NEW.kind = 'operator') EXECUTE FUNCTION shared.refuse_operator()
    """)
    op.execute(f"""
        CREATE TRIGGER operator_changed BEFORE UPDATE OF {_COLUMNS} ON shared.access_tokens
        FOR EACH ROW WHEN ('operator' IN (OLD.kind, NEW.kind)) EXECUTE FUNCTION shared.refuse_operator()
    """)


def downgrade():
    op.execute("DROP TRIGGER operator_changed ON shared.access_tokens")
    op.execute("DROP TRIGGER operator_made ON shared.access_tokens")
    op.execute("DROP FUNCTION shared.refuse_operator()")
