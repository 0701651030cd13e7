# same
"""A partitioned table."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.create_table(
        "visits",
        sa.Column("at", sa.Date(), nullable=False),
        sa.Column("note", sa.Text()),
        postgresql_partition_by="RANGE (at)",
    )
    op.execute(
        "CREATE TABLE visits_2024 PARTITION OF visits FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')"
    )
    op.execute("INSERT INTO visits VALUES ('2024-05-01', 'x')")


def downgrade():
    op.drop_table("visits")
