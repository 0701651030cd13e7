"""The contract between the consumer and a command's handler."""

from typing import Literal, Protocol, runtime_checkable

from db.connection import Connection
from db.contracts import Command
from db.ledger import Entry, Failure
from db.registry import Tenant

Outcome = Literal["handled", "superseded"]


class Handler(Protocol):
    """One command's work, in the consumer's transactions. Handlers keep no state between calls."""

    async def begin(self, connection: Connection, tenant: Tenant, /) -> bool:
        """Note in the registry that work begins (first transaction).

        Args:
            connection: within a transaction.
            tenant: locked.

        Returns:
            False where the tenant has moved on, and the command is superseded.
        """

    async def work(
        self, connection: Connection, tenant: Tenant, entry: Entry, command: Command, /
    ) -> Outcome:
        """Do the work, its new state and its events (second transaction).

        Args:
            connection: within a transaction that holds the tenant's advisory lock.
            tenant: as the registry has it now.
            entry: the ledger's row, locked.
            command: what it asks for.
        """

    async def gave_up(self, connection: Connection, tenant: Tenant, entry: Entry, failure: Failure) -> None:
        """Note in the registry that the command was parked (third transaction).

        Args:
            connection: within a transaction.
            tenant: locked.
            entry: the ledger's row.
            failure: why.
        """


@runtime_checkable
class Preparing(Protocol):
    """A handler whose work cannot all be part of a transaction."""

    async def prepare(
        self, connection: Connection, tenant: Tenant, entry: Entry, command: Command, /
    ) -> None:
        """Do, between the first transaction and the second, what no transaction can hold.

        Args:
            connection: outside a transaction, to look things up. It holds the message's lock, so that
                nothing here may reset it.
            tenant: as it was when work began.
            entry: the ledger's row.
            command: what it asks for. It may have been done already, in whole or in part.

        Raises:
            Busy: somebody else is working on the tenant.
        """
