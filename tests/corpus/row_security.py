# same
"""Row security with a policy."""

from alembic import op


def upgrade():
    op.execute("ALTER TABLE people ENABLE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY adults ON people FOR SELECT USING (age > 18)")
