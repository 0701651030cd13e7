"""The tables of the ledger, in the schema ``shared``: messages, and their replays."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from db.models.shared import MESSAGE_STATUSES, Shared, one_of


class LedgerMessage(Shared):
    """A command or event: outbox and inbox in one."""

    __tablename__ = "messages"
    __table_args__ = (
        CheckConstraint(one_of("kind", ("command", "event")), name="kind"),
        CheckConstraint(one_of("status", MESSAGE_STATUSES), name="status"),
        CheckConstraint("payload IS NOT NULL OR raw_body IS NOT NULL", name="body"),
        Index("uq_messages_source_id", "source", "source_id", unique=True),
        Index(
            "uq_messages_unknown_body",
            "body_hash",
            unique=True,
            postgresql_where=text("type = 'unknown'"),
        ),
        Index(
            "ix_messages_due_by_kind",
            "kind",
            text("priority DESC"),
            "id",
            postgresql_where=text("status = 'pending'"),
        ),
        Index(
            "ix_messages_in_flight",
            "published_at",
            postgresql_where=text("kind = 'command' AND status = 'published'"),
        ),
        Index(
            "ix_messages_open",
            "tenant_id",
            "tenant_version",
            postgresql_where=text("status = 'pending' OR (status = 'published' AND kind = 'command')"),
        ),
        Index("ix_messages_tenant", "tenant_id", "id"),
        Index(
            "ix_messages_stopped",
            "status",
            "id",
            postgresql_where=text("status IN ('parked', 'archived', 'superseded')"),
        ),
        Index("ix_messages_caused_by", "caused_by", postgresql_where=text("caused_by IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]
    type: Mapped[str]
    tenant_id: Mapped[UUID | None] = mapped_column(ForeignKey("shared.tenants.id"))
    tenant_version: Mapped[int | None]
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    payload: Mapped[dict[str, Any] | None]
    raw_body: Mapped[bytes | None]
    status: Mapped[str] = mapped_column(server_default="pending")
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    deliveries: Mapped[int] = mapped_column(Integer, server_default="0")
    available_at: Mapped[datetime] = mapped_column(server_default=func.now())
    leased_until: Mapped[datetime | None]
    published_at: Mapped[datetime | None]
    handled_at: Mapped[datetime | None]
    last_error: Mapped[str | None]
    error_class: Mapped[str | None]
    traceback: Mapped[str | None]
    frame: Mapped[str | None]
    failures: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"))
    replays: Mapped[int] = mapped_column(Integer, server_default="0")
    caused_by: Mapped[UUID | None]
    source: Mapped[str | None]
    source_id: Mapped[str | None]
    body_hash: Mapped[bytes | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Replay(Shared):
    """A bulk replay. The provisioners advance it at its rate until it is finished or cancelled."""

    __tablename__ = "replays"
    __table_args__ = (
        CheckConstraint(one_of("status", ("running", "finished", "cancelled")), name="status"),
        CheckConstraint("rate > 0", name="rate"),
        Index("ix_replays_running", "next_at", postgresql_where=text("status = 'running'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    filter: Mapped[dict[str, Any]]
    rate: Mapped[int] = mapped_column(Integer)
    reason: Mapped[str]
    actor: Mapped[str]
    total: Mapped[int] = mapped_column(Integer)
    done: Mapped[int] = mapped_column(Integer, server_default="0")
    skipped: Mapped[int] = mapped_column(Integer, server_default="0")
    status: Mapped[str] = mapped_column(server_default="running")
    next_at: Mapped[datetime] = mapped_column(server_default=func.now())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]


class ReplayMessage(Shared):
    """A message that a bulk replay has not sent again yet."""

    __tablename__ = "replay_messages"

    replay_id: Mapped[UUID] = mapped_column(ForeignKey("shared.replays.id"), primary_key=True)
    message_id: Mapped[UUID] = mapped_column(primary_key=True)
