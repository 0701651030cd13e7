# refused: declare online = True
"""create_all, which looks for what is there."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    metadata = sa.MetaData()
    sa.Table("made", metadata, sa.Column("id", sa.Integer(), sa.Identity(), primary_key=True))
    metadata.create_all(op.get_bind())
