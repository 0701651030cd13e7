"""Message contracts: every command and event, as CloudEvents 1.0 in JSON (cloudevents.io, spec 1.0.2).

A message is a ledger row's payload. Commands carry ids and never secrets; the worker reads the
registry. Delivery is at least once, and a repeat has the same id.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Literal
from uuid import UUID

import msgspec
import uuid_utils.compat as uuid7
from msgspec import Meta

SOURCE: Final = "tenantry"
Kind = Literal["command", "event"]


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A message's ``data``. Subclasses name their ``type`` and ``kind``."""

    type: ClassVar[str]
    kind: ClassVar[Kind]


class Command(Data, frozen=True):
    kind: ClassVar[Kind] = "command"


class Event(Data, frozen=True):
    kind: ClassVar[Kind] = "event"


class Provision(Command, frozen=True):
    """Build the tenant's schema and bring it to the newest revision."""

    type: ClassVar[str] = "tenant.provision"
    tenant_id: UUID


class Migrate(Command, frozen=True):
    """Bring the tenant's schema to ``revision``."""

    type: ClassVar[str] = "tenant.migrate"
    tenant_id: UUID
    revision: str


_NO_NUL: Final = r"^[^\x00]*$"
Reference = Annotated[str, Meta(min_length=1, max_length=500, pattern=_NO_NUL)]
"""An ``id`` or ``source`` from outside."""


class Signup(Command, frozen=True):
    """Sign a tenant up, from outside: any ``source``, answered by ``tenant.requested`` or ``tenant.rejected``.

    Without a slug, one is made from the name. ``claim_sha256`` is the SHA-256, in hexadecimal, of a secret
    with which the first API key is claimed.
    """

    type: ClassVar[str] = "tenant.signup"
    name: Annotated[str, Meta(min_length=1, max_length=200, pattern=_NO_NUL)]
    slug: Annotated[str, Meta(min_length=1, max_length=63, pattern=_NO_NUL)] | None = None
    host: Annotated[str, Meta(min_length=1, max_length=253, pattern=_NO_NUL)] | None = None
    admin_email: (
        Annotated[str, Meta(min_length=3, max_length=256, pattern=r"^[^@\s\x00]+@[^@\s\x00]+\.[^@\s\x00]+$")]
        | None
    ) = None
    claim_sha256: Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{64}$")] | None = None


class Requested(Event, frozen=True):
    """A sign-up was accepted; provisioning follows. ``source`` and ``source_id`` are of one from outside."""

    type: ClassVar[str] = "tenant.requested"
    tenant_id: UUID
    slug: str
    name: str
    source: str | None = None
    source_id: str | None = None


class Rejected(Event, frozen=True):
    """A sign-up from outside was refused; ``source`` and ``source_id`` say which."""

    type: ClassVar[str] = "tenant.rejected"
    reason: str
    source: str
    source_id: str
    slug: str | None = None


class Provisioned(Event, frozen=True):
    """The tenant is active."""

    type: ClassVar[str] = "tenant.provisioned"
    tenant_id: UUID
    slug: str
    revision: str


class ProvisioningFailed(Event, frozen=True):
    """Provisioning gave up; an operator can replay the command ``message_id``."""

    type: ClassVar[str] = "tenant.provisioning_failed"
    tenant_id: UUID
    slug: str
    error_class: str
    message_id: UUID


class Migrated(Event, frozen=True):
    """The tenant's schema is at ``revision``."""

    type: ClassVar[str] = "tenant.migrated"
    tenant_id: UUID
    slug: str
    revision: str


class MigrationFailed(Event, frozen=True):
    """The tenant could not be brought to ``revision``; an operator can replay the command ``message_id``."""

    type: ClassVar[str] = "tenant.migration_failed"
    tenant_id: UUID
    slug: str
    revision: str
    error_class: str
    message_id: UUID


class Suspended(Event, frozen=True):
    """The tenant's requests are refused until it is resumed."""

    type: ClassVar[str] = "tenant.suspended"
    tenant_id: UUID
    slug: str


class Resumed(Event, frozen=True):
    """The tenant is active again."""

    type: ClassVar[str] = "tenant.resumed"
    tenant_id: UUID
    slug: str


class Renamed(Event, frozen=True):
    """The tenant has another slug or name; it answers to ``slug`` from now on, and not to ``slug_before``."""

    type: ClassVar[str] = "tenant.renamed"
    tenant_id: UUID
    slug: str
    name: str
    slug_before: str


class Deleted(Event, frozen=True):
    """The tenant is gone for its clients, and restorable until ``purge_after``."""

    type: ClassVar[str] = "tenant.deleted"
    tenant_id: UUID
    slug: str
    purge_after: datetime


class Restored(Event, frozen=True):
    """The tenant is again what it was before it was deleted."""

    type: ClassVar[str] = "tenant.restored"
    tenant_id: UUID
    slug: str
    status: str


class Parked(Event, frozen=True):
    """A message gave up and waits for an operator."""

    type: ClassVar[str] = "message.parked"
    message_id: UUID
    message_type: str
    error_class: str


COMMANDS: Final[dict[str, type[Command]]] = {data.type: data for data in (Provision, Migrate, Signup)}
EVENTS: Final[dict[str, type[Event]]] = {
    data.type: data
    for data in (
        Requested,
        Rejected,
        Provisioned,
        ProvisioningFailed,
        Migrated,
        MigrationFailed,
        Suspended,
        Resumed,
        Renamed,
        Deleted,
        Restored,
        Parked,
    )
}


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The envelope, as CloudEvents JSON, with the extensions ``tenantversion`` and ``causationid``."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    time: datetime
    datacontenttype: str = "application/json"
    subject: str | None = None
    tenantversion: int | None = None
    causationid: str | None = None
    data: Any = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message on its way into the ledger."""

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
"""Priority of what a person waits for."""
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
    """Make a message with a fresh id (UUIDv7, RFC 9562) and the time of now.

    Args:
        data: what it says.
        subject: the tenant's slug.
        tenant_id: the tenant whose messages it is ordered among.
        tenant_version: its place in that order: ``tenants.version`` as of the change it tells.
        caused_by: the message that led to this one.
        priority: higher goes first: `SIGN_UP` or `BULK`.
        source: of a sign-up from outside: whose, if it is not Tenantry's own.
        source_id: its id there.
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


class ContractError(ValueError):
    """A message does not fit its type's contract; it can never be handled as it is."""


def command(type_: str, payload: str | bytes) -> Command:
    """Read a command's data back from its payload.

    Raises:
        ContractError: the type is unknown, or the payload is not what the type asks for.
    """
    kind = COMMANDS.get(type_)
    if kind is None:
        raise ContractError(f"unknown command type: {type_}")
    try:
        event = msgspec.json.decode(payload, type=CloudEvent)
        return msgspec.convert(event.data, kind)
    except msgspec.MsgspecError as error:
        raise ContractError(f"{type_}: {error}") from error


class SignupEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A ``tenant.signup`` from outside: CloudEvents JSON, extensions of anybody's own allowed."""

    specversion: Literal["1.0"]
    id: Reference
    source: Reference
    type: Literal["tenant.signup"]
    time: datetime | None = None
    data: Signup


def signup(body: str | bytes) -> SignupEvent:
    """Read a sign-up from outside.

    Raises:
        ContractError: it is none.
    """
    try:
        return msgspec.json.decode(body, type=SignupEvent)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ContractError(f"tenant.signup: {error}") from error
