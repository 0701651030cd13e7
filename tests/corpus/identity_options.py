# same
"""An identity column with options."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.create_table(
        "numbered",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=True, start=1000, increment=5, cycle=True),
            primary_key=True,
        ),
    )
    op.execute("INSERT INTO numbered DEFAULT VALUES")
