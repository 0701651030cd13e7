# refused: declare online = True
"""A result that is used."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    count = op.get_bind().execute(sa.text("SELECT count(*) FROM people")).scalar()
    op.execute(f"UPDATE people SET age = {count}")
