"""What a schema of each revision looks like, for those who may read the catalog and build nothing.

The function reads a table that only the owner may. Whoever may use ``shared`` may call it: it tells the revisions
of tenants' schemas, and nothing else.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "a8d2f5b7c913"
down_revision = "a51f0c2d9e84"
branch_labels = None
depends_on = None
# The oldest revision whose code still works with this one.
compatible_from = "d6ba8c13303e"


def upgrade():
    op.create_table(
        "structures",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("revision", sa.String(length=32), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("objects", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_structures")),
        schema="shared",
    )
    op.create_index(
        op.f("ix_structures_fingerprint"), "structures", ["fingerprint"], unique=False, schema="shared"
    )
    op.execute("""
        CREATE FUNCTION shared.schema_revisions(schemas text[])
        RETURNS TABLE (schema_name text, revisions text[])
        LANGUAGE plpgsql STABLE SECURITY DEFINER AS
        $$ BEGIN
          FOR schema_name IN
            SELECT n.nspname FROM pg_catalog.pg_namespace n
            JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = 'alembic_version'
            WHERE n.nspname = ANY (schemas) AND n.nspname ~ '^t_[a-z2-7]{16}$'
              AND c.relkind = 'r' AND c.relowner = n.nspowner
              AND pg_catalog.pg_get_userbyid(n.nspowner) = current_user
          LOOP
            EXECUTE format('SELECT array_agg(version_num::text ORDER BY version_num) FROM %I.alembic_version', schema_name)
              INTO revisions;
            RETURN NEXT;
          END LOOP;
        END $$
    """)
    op.execute("ALTER FUNCTION shared.schema_revisions(text[]) SET search_path TO pg_catalog, pg_temp")


def downgrade():
    op.execute("DROP FUNCTION shared.schema_revisions(text[])")
    op.drop_index(op.f("ix_structures_fingerprint"), table_name="structures", schema="shared")
    op.drop_table("structures", schema="shared")
