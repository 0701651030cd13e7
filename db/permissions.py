"""Permissions that the API enforces; migrations seed them in every tenant, under the same names."""

from typing import Final, Literal

Permission = Literal[
    "todos:read",
    "todos:write",
    "users:read",
    "users:write",
    "roles:read",
    "roles:write",
    "permissions:read",
    "permissions:write",
    "keys:read",
    "keys:write",
]

ADMINISTRATOR: Final = "ADMIN_MASTER"
"""The role that may do everything; a tenant always keeps one active user who has it."""

SEEDED_ROLES: Final = (ADMINISTRATOR, "ADMIN", "USER")
"""The roles that migrations seed in every tenant; the last is a new user's, where nothing else is said."""

ALL: Final[tuple[Permission, ...]] = Permission.__args__  # type: ignore[attr-defined]
