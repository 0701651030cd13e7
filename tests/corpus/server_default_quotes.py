# same
"""Defaults with quotes, colons, percent signs and backslashes."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.create_table(
        "notes",
        sa.Column("a", sa.Text(), server_default="it's"),
        sa.Column("b", sa.Text(), server_default="50% :off"),
        sa.Column("c", sa.Text(), server_default="c:\\temp"),
        sa.Column("d", sa.Text(), server_default="%(name)s"),
        sa.Column("e", sa.JSON(), server_default=sa.text("'{\"a\": [1]}'")),
        sa.Column("f", sa.Text(), server_default="tab\there"),
    )
    op.execute("INSERT INTO notes DEFAULT VALUES")
