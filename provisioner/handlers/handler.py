"""The contract of a command's handler: what the attempt at a command leaves to it.

A command may be about a tenant, about one that is not there yet (a sign-up), or about many.
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
        entry: the ledger's row.
        command: what it asks for.
        subject: the tenant that it is about, if there is one.
    """

    entry: Entry
    command: C
    subject: Tenant | None = None

    @property
    def tenant(self) -> Tenant:
        """The tenant of a command that is always about one."""
        assert self.subject is not None
        return self.subject


class Handler(Generic[C]):
    """One command's work, in the attempt's transactions. Handlers keep no state between calls.

    A subclass says which ``types`` it handles, and does what is its own; every part has a default.
    """

    types: ClassVar[tuple[str, ...]] = ()
    """The message types that come here."""

    about_tenant: ClassVar[bool] = True
    """Whether the command is about a tenant, whose advisory lock is held while it is worked on."""

    def read(self, entry: Entry) -> C:
        """Return what a ledger's row asks for.

        Raises:
            ContractError: it does not fit the type's contract, and never will.
        """
        command: Any = envelope.command(entry.type, entry.payload or "")
        return command  # type: ignore[no-any-return]

    async def begin(self, connection: Connection, job: Job[C], /) -> bool:
        """Note in the registry that work begins (first transaction).

        Args:
            connection: within a transaction.
            job: the command; its tenant is locked.

        Returns:
            False if the tenant has moved on, and the command is superseded.
        """
        del connection, job
        return True

    async def prepare(self, connection: Connection, job: Job[C], /) -> None:
        """Do, between the first transaction and the second, what no transaction can hold.

        Args:
            connection: outside a transaction, to look things up. It holds the message's lock, so that
                nothing here may reset it.
            job: the command, its tenant as it was when work began. It may have been done already, in whole
                or in part.

        Raises:
            BusyError: somebody else is working on the tenant.
        """

    async def work(self, connection: Connection, job: Job[C], /) -> Outcome:
        """Do the work, its new state and its events (second transaction).

        Args:
            connection: within a transaction that holds the tenant's advisory lock, if there is a tenant.
            job: the command, its row locked, its tenant as the registry has it now.

        Raises:
            BusyError: it is too early for it; the attempt is given back.
        """
        del connection, job
        return "handled"

    async def gave_up(
        self, connection: Connection, entry: Entry, tenant: Tenant | None, failure: Failure, /
    ) -> None:
        """Note that the command was parked (third transaction).

        Args:
            connection: within a transaction.
            entry: the ledger's row.
            tenant: the tenant that it is about, locked, if there is one.
            failure: why.
        """


Handlers = Mapping[str, Handler[Any]]
"""Handlers by the types of their commands."""


def by_type(*handlers: Handler[Any]) -> Handlers:
    """Return handlers by the types that they say are theirs."""
    return {type_: handler for handler in handlers for type_ in handler.types}
