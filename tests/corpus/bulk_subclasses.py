# same
"""Numbers and texts that are something more, and print otherwise."""

import enum

import sqlalchemy as sa
from alembic import op


class Level(int, enum.Enum):
    HIGH = 3


class Mood(str, enum.Enum):  # noqa: UP042 - as older code has it
    FINE = "it's fine"


class Share(float):
    def __repr__(self):
        return "Share(0.5)"


def upgrade():
    things = op.create_table(
        "things",
        sa.Column("level", sa.Integer()),
        sa.Column("levels", sa.ARRAY(sa.Integer())),
        sa.Column("mood", sa.Text()),
        sa.Column("share", sa.Float()),
    )
    op.bulk_insert(
        things, [{"level": Level.HIGH, "levels": [Level.HIGH], "mood": Mood.FINE, "share": Share(0.5)}]
    )
