"""The tables of the schema ``shared``, which exist once for all tenants.

Longer than other modules: all of them, side by side.
"""

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


class PoolSchema(Shared):
    """A schema with a role, tables and rights that is no tenant's yet. A sign-up takes it."""

    __tablename__ = "pool_schemas"
    __table_args__ = (CheckConstraint(r"schema_name ~ '^t_[a-z2-7]{16}$'", name="schema_name"),)

    schema_name: Mapped[str] = mapped_column(String(63), primary_key=True)
    revision: Mapped[str]
    fingerprint: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    imprint: Mapped[str | None]


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


class Structure(Shared):
    """What a schema of a revision has in it. The digest says of which revision, and how it was read."""

    __tablename__ = "structures"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    revision: Mapped[str] = mapped_column(String(32))
    fingerprint: Mapped[str] = mapped_column(index=True)
    objects: Mapped[list[list[str]]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


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
