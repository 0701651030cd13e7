"""The house's tables in each tenant's schema: users, their roles, and what a role permits."""

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
"""What the house's own routes ask for; a migration gives them to each tenant under the same names."""

ADMINISTRATOR: Final = "ADMIN_MASTER"
"""The role that may do everything; a tenant always keeps one active user who has it."""

SEEDED_ROLES: Final = (ADMINISTRATOR, "ADMIN", "USER")
"""The roles that a migration gives to each tenant; the last one is a new user's by default."""


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
