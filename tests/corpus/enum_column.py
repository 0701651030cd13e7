# same
"""A native enum, made with its table."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.create_table("moods", sa.Column("mood", sa.Enum("sad", "it's fine", name="mood")))
    op.execute("INSERT INTO moods VALUES ('it''s fine')")


def downgrade():
    op.drop_table("moods")
    op.execute("DROP TYPE mood")
