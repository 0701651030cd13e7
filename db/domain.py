"""The domain: the application's tables, its permissions, and the oldest revision that its code works with.

The example is a to-do list; replace it with your own domain as ``docs/how-to.md`` says.
"""

from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Boolean, ForeignKey, Identity, Integer, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base

OLDEST_SERVED: Final = "e05b6d1c83fa"
"""The oldest tenant revision that this release's code works with. Requests of older tenants are answered 503."""

PermissionName = Literal["todos:read", "todos:write"]
"""The permissions that the domain's routes require. A revision adds them to each tenant under the same names."""

EXTENSIONS: Final[tuple[str, ...]] = ()
"""Optional: PostgreSQL's extensions that the domain's tables and queries need, such as ``citext``."""

FIRST_ROW: Final[tuple[str, dict[str, Any]]] = ("/todos", {"title": "Bake bread"})
"""Optional: path and body of the request with which ``make run`` writes its first tenant's first row."""


class Todo(Base):
    __tablename__ = "todos"

    id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)
    title: Mapped[str] = mapped_column(String(500))
    done: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    due_at: Mapped[datetime | None]
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
