"""The tables of rollouts, in the schema ``shared``."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import CheckConstraint, Double, Index, Integer, String, func, literal_column, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.shared import Shared, one_of

ROLLOUT_STATUSES: Final = ("planned", "running", "paused", "halted", "finished", "aborted")
STEP_STATUSES: Final = ("waiting", "running", "done", "skipped", "failed")


class Rollout(Shared):
    """A revision or a task on its way through the fleet. One is open at a time."""

    __tablename__ = "rollouts"
    __table_args__ = (
        CheckConstraint(one_of("status", ROLLOUT_STATUSES), name="status"),
        CheckConstraint("(target IS NULL) <> (task IS NULL)", name="what"),
        Index(
            "uq_rollouts_open",
            literal_column("(true)"),
            unique=True,
            postgresql_where=text("status NOT IN ('finished', 'aborted')"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    target: Mapped[str | None] = mapped_column(String(32))
    task: Mapped[str | None]
    arguments: Mapped[dict[str, Any]]
    canary: Mapped[dict[str, Any]]
    wave: Mapped[dict[str, Any]]
    concurrency: Mapped[int] = mapped_column(Integer)
    rate: Mapped[int | None] = mapped_column(Integer)
    max_failures: Mapped[int] = mapped_column(Integer)
    bake_time: Mapped[float] = mapped_column(Double)
    filter: Mapped[dict[str, Any]]
    reason: Mapped[str]
    actor: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="planned")
    current_wave: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    waves: Mapped[int] = mapped_column(Integer)
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    wave_failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    note: Mapped[str | None]
    message_id: Mapped[UUID | None]
    baked_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class RolloutTenant(Shared):
    """A tenant in a rollout. Registry rows are never deleted, so no foreign key is checked 10,000 times."""

    __tablename__ = "rollout_tenants"
    __table_args__ = (
        CheckConstraint(one_of("status", STEP_STATUSES), name="status"),
        Index(
            "ix_rollout_tenants_open",
            "rollout_id",
            "wave",
            "tenant_id",
            postgresql_where=text("status IN ('waiting', 'running')"),
        ),
    )

    rollout_id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    wave: Mapped[int | None] = mapped_column(Integer)
    status: Mapped[str]
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    available_at: Mapped[datetime] = mapped_column(server_default=func.now())
    error: Mapped[str | None]
    error_class: Mapped[str | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
