# same
"""Values bound to text."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.execute(
        sa.text("INSERT INTO people (name, age) VALUES (:name, :age)").bindparams(
            name="it's \\ :x %s $1", age=-5
        )
    )
