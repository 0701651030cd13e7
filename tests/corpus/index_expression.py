# same
"""An index on an expression, partial, with an operator class."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    op.create_index(
        "by_lower", "people", [sa.text("lower(name)")], unique=False, postgresql_where=sa.text("age > 18")
    )
    op.create_index("by_pattern", "people", ["name"], postgresql_ops={"name": "text_pattern_ops"})


def downgrade():
    op.drop_index("by_pattern")
    op.drop_index("by_lower")
