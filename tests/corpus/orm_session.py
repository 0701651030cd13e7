# refused: declare online = True
"""A session of the ORM."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.orm import Session


def upgrade():
    session = Session(bind=op.get_bind())
    session.execute(sa.text("UPDATE people SET age = 4"))
    session.commit()
