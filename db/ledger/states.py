"""States of messages, the transitions between them, and SQL conditions for both.

The two tables say which state may follow which. The sets and conditions below are made from them, and the
statements on the ledger use those. A few statements are written for a partial index and name its states
themselves: `outbox.lease` (what waits for an older message), `outbox.next_due` and the backlog.

A delivery may arrive before its message is marked published, so ``pending`` may become ``handled``.
"""

from collections.abc import Collection
from typing import Final, Literal

MessageKind = Literal["command", "event"]
MessageStatus = Literal["pending", "published", "handled", "parked", "archived", "superseded"]

OF_COMMANDS: Final[dict[MessageStatus, frozenset[MessageStatus]]] = {
    "pending": frozenset({"published", "handled", "parked", "superseded"}),
    # Pending again for a retry, or because the broker has lost it.
    "published": frozenset({"pending", "handled", "parked", "superseded"}),
    "handled": frozenset({"pending"}),
    "parked": frozenset({"pending", "archived"}),
    "archived": frozenset({"pending", "parked"}),
    "superseded": frozenset(),
}
OF_EVENTS: Final[dict[MessageStatus, frozenset[MessageStatus]]] = {
    "pending": frozenset({"published"}),
    "published": frozenset({"pending"}),
}
_TABLES: Final = {"command": OF_COMMANDS, "event": OF_EVENTS}


def before(status: MessageStatus, kind: MessageKind = "command") -> frozenset[MessageStatus]:
    """Return the states from which a message of this kind may become ``status``."""
    return frozenset(first for first, after in _TABLES[kind].items() if status in after)


IN_FLIGHT: Final = before("handled")
"""States of open commands: those that an attempt can bring to an end."""
STOPPED: Final[frozenset[MessageStatus]] = before("archived") | {"archived"}
"""States of commands that wait for an operator, or that one has put away."""
FINISHED: Final = (
    frozenset(after for open_ in IN_FLIGHT for after in OF_COMMANDS[open_]) - IN_FLIGHT - STOPPED
)
"""States of commands that nothing more is to be done about."""


def condition(kind: MessageKind, statuses: Collection[MessageStatus], *, table: str = "") -> str:
    """Return the SQL condition that a message is of this kind and in one of these states.

    Args:
        kind: ``command`` or ``event``.
        statuses: the states.
        table: the alias of ``shared.messages`` in the statement, with a dot, if the statement has one.
    """
    listed = ", ".join(f"'{status}'" for status in sorted(statuses))
    return f"{table}kind = '{kind}' AND {table}status IN ({listed})"


def _either(commands: Collection[MessageStatus], events: Collection[MessageStatus]) -> str:
    return f"({condition('command', commands, table='m.')} OR {condition('event', events, table='m.')})"


OPEN: Final = condition("command", IN_FLIGHT)
"""SQL condition that a command is open: pending or published."""

WITH_BROKER: Final = condition("command", before("pending") & IN_FLIGHT)
"""SQL condition that a command is with the broker, from where it may return to pending."""

WAITS: Final = condition("command", before("parked") & before("published"))
"""SQL condition that a command is not with the broker, and can be parked."""

IS_STOPPED: Final = condition("command", STOPPED)
"""SQL condition that a command is parked or archived."""

ARCHIVABLE: Final = condition("command", before("archived"))
"""SQL condition that a command can be archived."""

RESTORABLE: Final = condition("command", before("parked") - IN_FLIGHT)
"""SQL condition that a command can be returned to the parked ones: an attempt parks open ones."""

TO_COME: Final = condition("command", IN_FLIGHT | STOPPED)
"""SQL condition that a command is open, or may be again."""

PUBLISHABLE: Final = _either(before("published"), before("published", "event"))
"""SQL condition that message ``m`` may become published."""

REPLAYABLE: Final = _either(before("pending") - IN_FLIGHT, before("pending", "event"))
"""SQL condition that message ``m`` can be replayed: it has come to an end and is not superseded."""

SWEEPABLE: Final = _either(FINISHED, {"published"})
"""SQL condition that message ``m`` may be deleted when it is old: a finished command or a published event."""

REPEATABLE_EVENT: Final = condition("event", before("pending", "event"))
"""SQL condition that an event can be published again."""
