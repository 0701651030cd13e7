# same
"""Operations that look for what is there in the statement itself."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.create_table("people", sa.Column("id", sa.Integer()), if_not_exists=True)
    op.drop_table("nothing", if_exists=True)
    op.execute("DROP TABLE IF EXISTS nothing")
    op.add_column("people", sa.Column("age", sa.Integer()), if_not_exists=True)
