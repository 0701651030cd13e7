# refused: declare online = True
"""A look at the catalog."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    if "age" in {column["name"] for column in sa.inspect(op.get_bind()).get_columns("people")}:
        op.drop_column("people", "age")
