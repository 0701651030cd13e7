"""Schemas that are built ahead of sign-ups."""

import sqlalchemy as sa
from alembic import op

revision = "a51f0c2d9e84"
down_revision = "e3a91b7c5d02"
branch_labels = None
depends_on = None
# The oldest revision whose code still works with this one.
compatible_from = "d6ba8c13303e"


def upgrade():
    op.create_table(
        "pool_schemas",
        sa.Column("schema_name", sa.String(length=63), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("schema_name ~ '^t_[a-z2-7]{16}$'", name=op.f("ck_pool_schemas_schema_name")),
        sa.PrimaryKeyConstraint("schema_name", name=op.f("pk_pool_schemas")),
        schema="shared",
    )


def downgrade():
    # The schemas stay, and nobody's: drop them first, by POOL_SCHEMAS=0.
    op.drop_table("pool_schemas", schema="shared")
