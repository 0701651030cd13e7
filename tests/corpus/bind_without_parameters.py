# same
"""A statement on the connection, whose result nobody looks at."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.get_bind().execute(sa.text("UPDATE people SET age = 3"))
    op.get_bind().exec_driver_sql("UPDATE people SET name = 'a:b'")
