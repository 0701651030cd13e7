"""By what a schema of the warm pool is known to be as it was built, at the price of one look."""

import sqlalchemy as sa
from alembic import op

revision = "f5a0c83b17d6"
down_revision = "d94b61e07f35"
branch_labels = None
depends_on = None
# The oldest revision whose code still works with this one.
compatible_from = "d6ba8c13303e"


def upgrade():
    op.add_column("pool_schemas", sa.Column("imprint", sa.Text(), nullable=True), schema="shared")


def downgrade():
    op.drop_column("pool_schemas", "imprint", schema="shared")
