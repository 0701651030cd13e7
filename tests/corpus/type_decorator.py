# same
"""A type that Python translates."""

import sqlalchemy as sa
from alembic import op


class Upper(sa.TypeDecorator):
    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return value and value.upper()


def upgrade():
    things = op.create_table("things", sa.Column("x", Upper()))
    op.bulk_insert(things, [{"x": "it's"}, {"x": None}])
