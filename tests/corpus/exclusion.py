# same
"""An exclusion constraint."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg


def upgrade():
    op.create_table(
        "stays", sa.Column("span", pg.INT4RANGE()), pg.ExcludeConstraint(("span", "&&"), name="apart")
    )
