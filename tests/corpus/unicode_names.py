# same
"""Names and dollar quotes that are no letters to Python, but to PostgreSQL."""

from alembic import op


def upgrade():
    op.execute("CREATE TABLE 🚲 (🚲 int)")
    op.execute("INSERT INTO 🚲 (🚲) SELECT 🚲.🚲 FROM 🚲")
    op.execute("DO $🚲$ BEGIN UPDATE people SET age = 1; UPDATE people SET age = 2; END $🚲$")
