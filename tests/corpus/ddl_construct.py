# same
"""SQLAlchemy's DDL, with its percent signs."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.execute(
        sa.DDL("ALTER TABLE %(table)s ADD COLUMN share text DEFAULT '5%%'", context={"table": "people"})
    )
