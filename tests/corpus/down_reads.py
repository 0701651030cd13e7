# refused: declare online = True
"""A downgrade that looks at rows."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.add_column("people", sa.Column("kind", sa.Text()))


def downgrade():
    if op.get_bind().execute(sa.text("SELECT 1 FROM people WHERE kind IS NOT NULL")).first():
        raise RuntimeError("rows would be lost")
    op.drop_column("people", "kind")
