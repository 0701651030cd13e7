# same
"""A table with keys, checks and a foreign key."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.create_table(
        "orders",
        sa.Column("id", sa.Integer(), sa.Identity(), primary_key=True),
        sa.Column("person_id", sa.Integer(), sa.ForeignKey("people.id", ondelete="CASCADE"), index=True),
        sa.Column("amount", sa.Numeric(12, 2), server_default="0", nullable=False),
        sa.CheckConstraint("amount >= 0", name="amount"),
        sa.UniqueConstraint("person_id", "amount", name="once", deferrable=True),
    )


def downgrade():
    op.drop_table("orders")
