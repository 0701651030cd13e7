"""The roles every tenant starts with, and the permissions that the API enforces."""

import sqlalchemy as sa
from alembic import op

revision = "87a2d94f5e16"
down_revision = "4c1f0e7a92d3"
branch_labels = None
depends_on = None
# The oldest revision whose code still works with this one.
compatible_from = "4c1f0e7a92d3"

ROLES = {
    "ADMIN_MASTER": "May do everything; a tenant always has one.",
    "ADMIN": "Runs the tenant's day: users and to-dos.",
    "USER": "Works with to-dos.",
}
PERMISSIONS = {
    "todos:read": "See to-dos",
    "todos:write": "Change to-dos",
    "users:read": "See users",
    "users:write": "Change users",
    "roles:read": "See roles",
    "roles:write": "Change roles",
    "permissions:read": "See permissions",
    "permissions:write": "Change permissions",
    "keys:read": "See API keys",
    "keys:write": "Make and revoke API keys",
}
GRANTED = {
    "ADMIN_MASTER": tuple(PERMISSIONS),
    "ADMIN": ("todos:read", "todos:write", "users:read", "users:write", "roles:read", "permissions:read"),
    "USER": ("todos:read", "todos:write"),
}


def upgrade():
    # A downgrade leaves roles that users have, so some may be there already.
    for name, description in ROLES.items():
        op.execute(
            sa.text(
                "INSERT INTO roles (role_name, role_description) VALUES (:name, :description)"
                " ON CONFLICT (role_name) DO NOTHING"
            ).bindparams(name=name, description=description)
        )
    for name, title in PERMISSIONS.items():
        op.execute(
            sa.text("INSERT INTO permissions (name, title) VALUES (:name, :title)").bindparams(
                name=name, title=title
            )
        )
    for role, granted in GRANTED.items():
        for permission in granted:
            op.execute(
                sa.text(
                    "INSERT INTO roles_permissions_link (role_id, permission_id)"
                    " SELECT r.id, p.id FROM roles r, permissions p"
                    " WHERE r.role_name = :role AND p.name = :permission"
                ).bindparams(role=role, permission=permission)
            )


def downgrade():
    for permission in PERMISSIONS:
        op.execute(sa.text("DELETE FROM permissions WHERE name = :name").bindparams(name=permission))
    for role in ROLES:
        op.execute(
            sa.text(
                "DELETE FROM roles WHERE role_name = :name"
                " AND NOT EXISTS (SELECT FROM users WHERE user_role_id = roles.id)"
            ).bindparams(name=role)
        )
