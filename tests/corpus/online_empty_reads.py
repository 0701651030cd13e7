# refused: upgrade_empty()
"""An upgrade_empty that looks at rows."""

import sqlalchemy as sa
from alembic import op

online = True


def upgrade():
    op.execute("UPDATE people SET age = 1")


def upgrade_empty():
    op.get_bind().execute(sa.text("SELECT 1")).scalar()
