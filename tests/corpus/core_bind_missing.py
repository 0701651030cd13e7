# refused: declare online = True
"""A Core statement with a parameter without a value."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    people = sa.table("people", sa.column("name", sa.Text))
    op.execute(people.update().values(name=sa.bindparam("to")))
