# refused: not the same on every path
"""An argument of the command, which a provisioner has not."""

from alembic import context, op


def upgrade():
    op.execute(f"UPDATE people SET name = '{context.get_x_argument(as_dictionary=True).get('tenant')}'")
