"""Reading and writing of envelopes: CloudEvents 1.0 in JSON (cloudevents.io, spec 1.0.2)."""

from datetime import UTC, datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
import uuid_utils.compat as uuid7

from db import moments
from db.ledger.contracts import Command, ContractError, Data, Signup, command_of
from db.moments import Moment
from db.names import Reference, literal

SOURCE: Final = "tenantry"

_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for a body: not its JSON or not its type, no UTF-8, or nested too deeply."""


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An envelope: a CloudEvent with the extensions ``tenantversion`` and ``causationid``."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    time: Moment
    datacontenttype: str = "application/json"
    subject: str | None = None
    tenantversion: int | None = None
    causationid: str | None = None
    data: Any = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is not yet in the ledger. `message` describes the fields."""

    id: UUID
    data: Data
    subject: str | None
    tenant_id: UUID | None
    tenant_version: int | None
    caused_by: UUID | None
    priority: int
    created_at: datetime
    source: str | None = None
    source_id: str | None = None

    @property
    def payload(self) -> bytes:
        """The CloudEvents JSON that is stored and published."""
        return msgspec.json.encode(
            CloudEvent(
                specversion="1.0",
                id=self.source_id or str(self.id),
                source=self.source or SOURCE,
                type=self.data.type,
                time=self.created_at,
                subject=self.subject,
                tenantversion=self.tenant_version,
                causationid=str(self.caused_by) if self.caused_by else None,
                data=self.data,
            )
        )


SIGN_UP: Final = 10
"""Priority of messages of a sign-up, which a person waits for."""
BULK: Final = 0
"""Priority of everything else."""


def message(
    data: Data,
    *,
    subject: str | None = None,
    tenant_id: UUID | None = None,
    tenant_version: int | None = None,
    caused_by: UUID | None = None,
    priority: int = BULK,
    source: str | None = None,
    source_id: str | None = None,
) -> Message:
    """Make a message with a new id (UUIDv7, RFC 9562) and the current time.

    Args:
        data: the message's data.
        subject: the tenant's slug.
        tenant_id: the tenant among whose messages this one is ordered.
        tenant_version: the place in that order: ``tenants.version`` after the change the message tells of.
        caused_by: the id of the message that led to this one.
        priority: `SIGN_UP` or `BULK`; higher goes first.
        source: the CloudEvent's source, for a sign-up from outside.
        source_id: the CloudEvent's id, for a sign-up from outside.
    """
    return Message(
        id=uuid7.uuid7(),
        data=data,
        subject=subject,
        tenant_id=tenant_id,
        tenant_version=tenant_version,
        caused_by=caused_by,
        priority=priority,
        created_at=datetime.now(UTC),
        source=source,
        source_id=source_id,
    )


def insertion(message: Message) -> str:
    """Return the SQL text that writes a message as `outbox.append` does, for a script that is sent at once.

    Args:
        message: an event or command of Tenantry itself, about a tenant.

    Raises:
        ValueError: a text has a NUL.
    """
    return (
        "INSERT INTO shared.messages"
        " (id, kind, type, tenant_id, tenant_version, priority, payload, caused_by, created_at) VALUES"
        f" ('{message.id}', {literal(message.data.kind)}, {literal(message.data.type)}, '{message.tenant_id}',"
        f" {message.tenant_version}, {message.priority}, {literal(message.payload.decode())}::jsonb,"
        f" '{message.caused_by}', '{message.created_at.isoformat()}')"
    )


def command(type_: str, payload: str | bytes) -> Command:
    """Return the command in a ledger row's payload.

    Raises:
        ContractError: the type is unknown, or the payload does not fit the type.
    """
    try:
        event = msgspec.json.decode(payload, type=CloudEvent)
    except _UNREADABLE as error:
        raise ContractError(f"{type_}: {error}") from error
    return command_of(type_, event.data)


class SignupEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A ``tenant.signup`` from outside, as a CloudEvent. Other extension attributes are ignored."""

    specversion: Literal["1.0"]
    id: Reference
    source: Reference
    type: Literal["tenant.signup"]
    time: Moment | None = None
    data: Signup

    def __post_init__(self) -> None:
        if self.time is not None:
            moments.checked(self.time, "time")


def signup(body: str | bytes) -> SignupEvent:
    """Return the sign-up from outside in a message's body.

    Raises:
        ContractError: the body is not a valid sign-up.
    """
    try:
        return msgspec.json.decode(body, type=SignupEvent)
    except _UNREADABLE as error:
        raise ContractError(f"tenant.signup: {error}") from error
