# refused: declare online = True
"""Many sets of parameters handed to the connection."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.get_bind().execute(sa.text("INSERT INTO people (name) VALUES (:name)"), [{"name": "a"}, {"name": "b"}])
