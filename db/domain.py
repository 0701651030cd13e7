"""The domain: the application's tables, its permissions, its tasks, and the oldest revision that its code works with.

The example is a to-do list; replace it with your own domain as ``docs/how-to.md`` says.
"""

from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Boolean, ForeignKey, Identity, Integer, String, bindparam, func, select, text, update
from sqlalchemy.orm import Mapped, mapped_column

from db import moments
from db.errors import InvalidValueError
from db.models.base import Base
from db.session.statements import Statement
from db.session.transaction import TenantTransaction

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


_FINISH = Statement(
    update(Todo)
    .where(
        Todo.id.in_(
            select(Todo.id)
            .where(Todo.done.is_(False), Todo.due_at < bindparam("before"))
            .limit(bindparam("most"))
            .with_for_update(skip_locked=True)
        )
    )
    .values(done=bindparam("done"), updated_at=func.now())
    .returning(Todo.id)
)
_BATCH: Final = 1000


async def finish_overdue(transaction: TenantTransaction, arguments: dict[str, Any]) -> bool:
    """Mark to-dos as done that were due before the time ``before`` (RFC 3339), a batch at a time.

    Args:
        transaction: a transaction in a tenant's schema.
        arguments: the rollout's.

    Returns:
        True if there may be more, so that it is run again in another transaction.
    """
    try:
        before = moments.checked(datetime.fromisoformat(arguments["before"]), "before")
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidValueError("before", "a time such as 2026-01-01T00:00:00Z is needed") from error
    return len(await transaction.fetch(_FINISH, before=before, most=_BATCH, done=True)) == _BATCH


TASKS: Final = {"finish_overdue": finish_overdue}
"""Optional: what operators can have done in all tenants, by ``litestar rollouts run --task NAME``."""
