"""The tables of the schema ``shared``, which exist once for all tenants."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db.models.naming import CONVENTION


class Shared(DeclarativeBase):
    metadata = MetaData(schema="shared", naming_convention=CONVENTION)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own declaration
        str: Text,
        datetime: DateTime(timezone=True),
        UUID: Uuid,
        bytes: LargeBinary,
        dict[str, Any]: JSONB,
        list[str]: ARRAY(Text),
    }


STATUSES = ("pending", "provisioning", "active", "failed", "suspended", "deleted", "purging", "purged")
MESSAGE_STATUSES = ("pending", "published", "handled", "parked", "archived", "superseded")


def one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class Tenant(Shared):
    """A tenant, as it is in the registry. Only `db.tenants.registry` changes ``status`` and ``version``."""

    __tablename__ = "tenants"
    __table_args__ = (
        CheckConstraint(one_of("status", STATUSES), name="status"),
        CheckConstraint(one_of("status_before", STATUSES), name="status_before"),
        CheckConstraint(r"schema_name ~ '^t_[a-z2-7]{16}$'", name="schema_name"),
        Index("uq_tenants_slug_taken", "slug", unique=True, postgresql_where=text("status <> 'purged'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(String(63))
    name: Mapped[str] = mapped_column(String(200))
    schema_name: Mapped[str] = mapped_column(String(63), unique=True)
    status: Mapped[str] = mapped_column(server_default="pending")
    status_before: Mapped[str | None]
    revision: Mapped[str | None]
    compatible_from: Mapped[str | None]
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    claim_hash: Mapped[bytes | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    purge_after: Mapped[datetime | None]


class TenantHost(Shared):
    __tablename__ = "tenant_hosts"

    host: Mapped[str] = mapped_column(String(253), primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("shared.tenants.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class SharedUser(Shared):
    """The tenant that an e-mail belongs to. An e-mail belongs to one person in one tenant."""

    __tablename__ = "shared_users"

    id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)
    email: Mapped[str] = mapped_column(String(256), unique=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("shared.tenants.id"), index=True)
    is_active: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime | None]


class PendingAdmin(Shared):
    """A sign-up's administrator, who waits until provisioning makes the user."""

    __tablename__ = "pending_admins"

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("shared.tenants.id"), primary_key=True)
    email: Mapped[str] = mapped_column(String(256))
    first_name: Mapped[str | None] = mapped_column(String(100))
    last_name: Mapped[str | None] = mapped_column(String(100))
    password_hash: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class AccessToken(Shared):
    """A token, of which only the SHA-256 is stored."""

    __tablename__ = "access_tokens"
    __table_args__ = (
        CheckConstraint(one_of("kind", ("tenant", "user", "operator")), name="kind"),
        CheckConstraint("(kind = 'operator') = (tenant_id IS NULL)", name="tenant"),
        CheckConstraint("(kind = 'user') = (user_id IS NOT NULL)", name="user"),
    )

    id: Mapped[str] = mapped_column(String(26), primary_key=True)
    kind: Mapped[str]
    token_hash: Mapped[bytes]
    name: Mapped[str] = mapped_column(String(100))
    tenant_id: Mapped[UUID | None] = mapped_column(ForeignKey("shared.tenants.id"), index=True)
    user_id: Mapped[int | None]
    scopes: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


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


class Heartbeat(Shared):
    """What a provisioner process last reported of itself."""

    __tablename__ = "heartbeats"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    process: Mapped[str]
    host: Mapped[str]
    pid: Mapped[int]
    broker: Mapped[str]
    in_hand: Mapped[int] = mapped_column(Integer, server_default="0")
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Switch(Shared):
    """A switch that operators turn on and off, such as the pause of the provisioners."""

    __tablename__ = "switches"

    name: Mapped[str] = mapped_column(primary_key=True)
    enabled: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    reason: Mapped[str | None]
    changed_by: Mapped[str | None]
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class IdempotencyKey(Shared):
    """The answer to a sign-up, by the SHA-256 of its ``Idempotency-Key``."""

    __tablename__ = "idempotency_keys"

    key_hash: Mapped[bytes] = mapped_column(primary_key=True)
    body_hash: Mapped[bytes]
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("shared.tenants.id"))
    token_id: Mapped[str] = mapped_column(String(26))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class AuditEntry(Shared):
    """An entry of the audit log. Entries are never changed or deleted."""

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("ix_audit_log_tenant", "tenant_id", "id"),
        Index(
            "ix_audit_log_message",
            text("(detail ->> 'message_id')"),
            postgresql_where=text("detail ? 'message_id'"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    actor: Mapped[str]
    tenant_id: Mapped[UUID | None]
    request_id: Mapped[str | None]
    action: Mapped[str]
    outcome: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
