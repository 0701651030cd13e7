"""Message contracts: every command and event, as CloudEvents 1.0 in JSON (cloudevents.io, spec 1.0.2).

A message is a ledger row's payload. Commands carry ids and never secrets; the worker reads the
registry. Delivery is at least once, and a repeat has the same id.
"""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from db.errors import InvalidValueError
from db.ledger.states import MessageKind
from db.names import Email, Host, Line, Slug


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A message's ``data``. Subclasses name their ``type`` and ``kind``."""

    type: ClassVar[str]
    kind: ClassVar[MessageKind]


class Command(Data, frozen=True):
    kind: ClassVar[MessageKind] = "command"


class Event(Data, frozen=True):
    kind: ClassVar[MessageKind] = "event"


class Provision(Command, frozen=True):
    """Build the tenant's schema and bring it to the newest revision."""

    type: ClassVar[str] = "tenant.provision"
    tenant_id: UUID


class Migrate(Command, frozen=True):
    """Bring the tenant's schema to ``revision``."""

    type: ClassVar[str] = "tenant.migrate"
    tenant_id: UUID
    revision: str


class Wave(Command, frozen=True):
    """Carry out a wave of a rollout; the canary is wave 0."""

    type: ClassVar[str] = "rollout.wave"
    rollout_id: UUID
    wave: int


class Signup(Command, frozen=True):
    """Sign a tenant up, from outside: any ``source``, answered by ``tenant.requested`` or ``tenant.rejected``.

    If there is no slug, one is made from the name. ``claim_sha256`` is the SHA-256, in hexadecimal, of the
    secret with which the first API key is claimed.
    """

    type: ClassVar[str] = "tenant.signup"
    name: Line
    slug: Slug | None = None
    host: Host | None = None
    admin_email: Email | None = None
    claim_sha256: Annotated[str, Meta(pattern=r"\A[0-9a-fA-F]{64}\Z")] | None = None


class Requested(Event, frozen=True):
    """A sign-up was accepted; provisioning follows. ``source`` and ``source_id`` name a sign-up from outside."""

    type: ClassVar[str] = "tenant.requested"
    tenant_id: UUID
    slug: str
    name: str
    source: str | None = None
    source_id: str | None = None


class Rejected(Event, frozen=True):
    """A sign-up from outside was refused; ``source`` and ``source_id`` name it."""

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


class RolloutStarted(Event, frozen=True):
    """A rollout has begun: of the revision ``target``, or of ``task``."""

    type: ClassVar[str] = "rollout.started"
    rollout_id: UUID
    target: str | None = None
    task: str | None = None


class RolloutHalted(Event, frozen=True):
    """A rollout has stopped by itself, because of failures; an operator resumes, retries or aborts it."""

    type: ClassVar[str] = "rollout.halted"
    rollout_id: UUID
    wave: int
    failures: int
    error_class: str | None = None


class RolloutFinished(Event, frozen=True):
    """A rollout has come to its end; ``failed`` tenants were left out."""

    type: ClassVar[str] = "rollout.finished"
    rollout_id: UUID
    done: int
    skipped: int
    failed: int


class Parked(Event, frozen=True):
    """A message gave up and waits for an operator."""

    type: ClassVar[str] = "message.parked"
    message_id: UUID
    message_type: str
    error_class: str


UNKNOWN: Final = "unknown"
"""The type of a ledger row whose body is not a known message."""

SIGN_UPS: Final = frozenset({UNKNOWN, Signup.type})
"""Types of commands that the sign-up handler takes. A message of unknown type may turn out to be a sign-up."""

COMMANDS: Final[dict[str, type[Command]]] = {data.type: data for data in (Provision, Migrate, Wave, Signup)}
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
        RolloutStarted,
        RolloutHalted,
        RolloutFinished,
        Parked,
    )
}


class ContractError(InvalidValueError):
    """A message does not fit its type's contract; it can never be handled as it is."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__("payload", message)


def command_of(type_: str, data: Any) -> Command:
    """Return the command of a message, converted from its ``data``.

    Raises:
        ContractError: the type is unknown, or the data does not fit the type.
    """
    command = COMMANDS.get(type_)
    if command is None:
        raise ContractError(f"unknown command type: {type_}")
    try:
        return msgspec.convert(data, command)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ContractError(f"{type_}: {error}") from error
