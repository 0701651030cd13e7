"""What the to-do list's routes ask for, seeded by a revision of its own, and roles described without it.

The permissions came with the house's own before (87a2d94f5e16), so tenants have them: to those, this gives
nothing, and nothing back that a tenant has taken from a role.
"""

import sqlalchemy as sa
from alembic import op

revision = "b71e4d9a02c5"
down_revision = "e05b6d1c83fa"
branch_labels = None
depends_on = None
# The oldest revision whose code still works with this one.
compatible_from = "4c1f0e7a92d3"

PERMISSIONS = {"todos:read": "See to-dos", "todos:write": "Change to-dos"}
DESCRIPTIONS = {
    "ADMIN": ("Runs the tenant's day: users and to-dos.", "Runs the tenant's day."),
    "USER": ("Works with to-dos.", "Works with the tenant's data."),
}


def upgrade():
    for name, title in PERMISSIONS.items():
        # A permission that is there already was given to its roles before.
        op.execute(
            sa.text(
                "WITH added AS ("
                "INSERT INTO permissions (name, title) VALUES (:name, :title)"
                " ON CONFLICT (name) DO NOTHING RETURNING id)"
                " INSERT INTO roles_permissions_link (role_id, permission_id)"
                " SELECT roles.id, added.id FROM roles, added"
                " WHERE roles.role_name IN ('ADMIN_MASTER', 'ADMIN', 'USER')"
            ).bindparams(name=name, title=title)
        )
    for role, (before, after) in DESCRIPTIONS.items():
        describe(role, before, after)


def downgrade():
    for role, (before, after) in DESCRIPTIONS.items():
        describe(role, after, before)


def describe(role: str, before: str, after: str) -> None:
    """Change a description that nobody has changed."""
    op.execute(
        sa.text(
            "UPDATE roles SET role_description = :after"
            " WHERE role_name = :role AND role_description = :before"
        ).bindparams(role=role, before=before, after=after)
    )
