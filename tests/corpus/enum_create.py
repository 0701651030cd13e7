# same
"""A native enum made by itself."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg


def upgrade():
    mood = pg.ENUM("sad", "fine", name="mood", create_type=False)
    mood.create(op.get_bind(), checkfirst=False)
    op.add_column("people", sa.Column("mood", mood, server_default="fine"))
