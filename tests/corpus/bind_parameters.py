# refused: declare online = True
"""Parameters handed to the connection."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    people = sa.table("people", sa.column("name", sa.Text))
    op.get_bind().execute(people.update().values(name=sa.bindparam("to")), {"to": "x"})
