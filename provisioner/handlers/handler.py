"""The base class of handlers: the steps of an attempt that depend on the type of command.

A command may be about one tenant, about a tenant that does not exist yet (a sign-up), or about many tenants.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Literal, TypeVar

import msgspec

from db.ledger import envelope
from db.ledger.inbox import Entry, Failure
from db.session.connection import Connection
from db.tenants.registry import Tenant

C = TypeVar("C")

Outcome = Literal["handled", "superseded"]


class Job(msgspec.Struct, Generic[C], frozen=True):
    """A command that is being worked on.

    Args:
        entry: the command's ledger row.
        command: the decoded command.
        subject: the tenant that the command is about; None if it is not about one.
    """

    entry: Entry
    command: C
    subject: Tenant | None = None

    @property
    def tenant(self) -> Tenant:
        """The tenant of a command that is always about a tenant."""
        assert self.subject is not None
        return self.subject


class Handler(Generic[C]):
    """Does the work of one command in the attempt's transactions. Handlers keep no state between calls.

    A subclass sets ``types`` and overrides the methods that it needs; every method has a default.
    """

    types: ClassVar[tuple[str, ...]] = ()
    """The message types that this handler handles."""

    about_tenant: ClassVar[bool] = True
    """Whether the command is about a tenant. If so, the tenant's advisory lock is held during the work."""

    def read(self, entry: Entry) -> C:
        """Decode the command in a ledger row.

        Raises:
            ContractError: the payload does not match the type's contract; trying again cannot help.
        """
        command: Any = envelope.command(entry.type, entry.payload or "")
        return command  # type: ignore[no-any-return]

    async def begin(self, connection: Connection, job: Job[C], /) -> bool:
        """Note in the registry that work begins (first transaction).

        Args:
            connection: a connection within a transaction.
            job: the command; its tenant is locked.

        Returns:
            False if the tenant has moved on and the command is superseded, otherwise True.
        """
        del connection, job
        return True

    async def prepare(self, connection: Connection, job: Job[C], /) -> None:
        """Do work that cannot run in a transaction, between the first transaction and the second.

        Args:
            connection: a connection outside a transaction, for look-ups. It holds the message's lock and must
                not be reset.
            job: the command, with its tenant as it was when work began. An earlier attempt may have done the
                work already, in whole or in part.

        Raises:
            BusyError: somebody else is working on the tenant.
            NewerReleaseError: this release does not know what the command is for; the attempt is given back.
        """

    async def work(self, connection: Connection, job: Job[C], /) -> Outcome:
        """Do the work, and write the new state and the events (second transaction).

        Args:
            connection: a connection within a transaction that holds the tenant's advisory lock, if the command
                is about a tenant.
            job: the command, its row locked, with its tenant as it is now.

        Returns:
            The status that the command's row gets.

        Raises:
            BusyError: it is too early for the command; the attempt is given back.
            NewerReleaseError: as for `prepare`.
        """
        del connection, job
        return "handled"

    async def gave_up(
        self, connection: Connection, entry: Entry, tenant: Tenant | None, failure: Failure, /
    ) -> None:
        """Note that the command was parked, in the transaction that parks it.

        Args:
            connection: a connection within that transaction.
            entry: the command's ledger row.
            tenant: the tenant that the command is about, locked; None if there is none.
            failure: why the command was parked.
        """


Handlers = Mapping[str, Handler[Any]]
"""Handlers by command type."""


def by_type(*handlers: Handler[Any]) -> Handlers:
    """Return a mapping from each command type to the handler that handles it."""
    return {type_: handler for handler in handlers for type_ in handler.types}
