"""The house's tables in each tenant's schema: users, roles and permissions."""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import Boolean, ForeignKey, Identity, Integer, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base

PermissionName = Literal[
    "users:read",
    "users:write",
    "roles:read",
    "roles:write",
    "permissions:read",
    "permissions:write",
    "keys:read",
    "keys:write",
]
"""The permissions that the house's routes require. A migration adds them to each tenant under the same names."""

ADMINISTRATOR: Final = "ADMIN_MASTER"
"""The role with all permissions. A tenant always keeps one active user with this role."""

SEEDED_ROLES: Final = (ADMINISTRATOR, "ADMIN", "USER")
"""The roles that a migration adds to each tenant. The last one is the default for a new user."""


class Role(Base):
    __tablename__ = "roles"

    id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)
    role_name: Mapped[str] = mapped_column(String(100), unique=True)
    role_description: Mapped[str | None] = mapped_column(String(500))


class Permission(Base):
    __tablename__ = "permissions"

    id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)
    uuid: Mapped[UUID] = mapped_column(unique=True, server_default=func.gen_random_uuid())
    account_id: Mapped[int | None]
    name: Mapped[str] = mapped_column(String(100), unique=True)
    title: Mapped[str] = mapped_column(String(200))
    description: Mapped[str | None] = mapped_column(String(500))


class RolePermission(Base):
    __tablename__ = "roles_permissions_link"

    role_id: Mapped[int] = mapped_column(ForeignKey("roles.id", ondelete="CASCADE"), primary_key=True)
    permission_id: Mapped[int] = mapped_column(
        ForeignKey("permissions.id", ondelete="CASCADE"), primary_key=True, index=True
    )


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)
    email: Mapped[str] = mapped_column(String(256), unique=True)
    first_name: Mapped[str | None] = mapped_column(String(100))
    last_name: Mapped[str | None] = mapped_column(String(100))
    user_role_id: Mapped[int] = mapped_column(ForeignKey("roles.id"), index=True)
    password_hash: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
