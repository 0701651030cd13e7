"""States of messages, the transitions between them, and SQL conditions for both.

A delivery may arrive before its message is marked published, so ``pending`` may become ``handled``.
"""

from collections.abc import Collection
from typing import Final, Literal

MessageKind = Literal["command", "event"]
MessageStatus = Literal["pending", "published", "handled", "parked", "archived", "superseded"]

COMMANDS: Final[dict[MessageStatus, frozenset[MessageStatus]]] = {
    "pending": frozenset({"published", "handled", "parked", "superseded"}),
    # Pending again for a retry, or because the broker has lost it.
    "published": frozenset({"pending", "handled", "parked", "superseded"}),
    "handled": frozenset({"pending"}),
    "parked": frozenset({"pending", "archived"}),
    "archived": frozenset({"pending", "parked"}),
    "superseded": frozenset(),
}
EVENTS: Final[dict[MessageStatus, frozenset[MessageStatus]]] = {
    "pending": frozenset({"published"}),
    "published": frozenset({"pending"}),
}

IN_FLIGHT: Final = frozenset[MessageStatus]({"pending", "published"})
"""States of open commands."""


def condition(kind: MessageKind, statuses: Collection[MessageStatus], *, table: str = "") -> str:
    """Return the SQL condition that a message is of this kind and in one of these states.

    Args:
        kind: ``command`` or ``event``.
        statuses: the states.
        table: the alias of ``shared.messages`` in the statement, with a dot, if the statement has one.
    """
    listed = ", ".join(f"'{status}'" for status in sorted(statuses))
    return f"{table}kind = '{kind}' AND {table}status IN ({listed})"


def may_become(status: MessageStatus) -> str:
    """Return the SQL condition that a command is in a state from which it may become ``status``."""
    return condition("command", [before for before, after in COMMANDS.items() if status in after])


OPEN: Final = condition("command", IN_FLIGHT)
"""SQL condition that a command is open: pending or published."""

REPLAYABLE: Final = (
    "("
    + " OR ".join(
        (
            condition(
                "command",
                [s for s, after in COMMANDS.items() if "pending" in after and s not in IN_FLIGHT],
                table="m.",
            ),
            condition("event", [s for s, after in EVENTS.items() if "pending" in after], table="m."),
        )
    )
    + ")"
)
"""SQL condition that message ``m`` can be replayed: it has come to an end and is not superseded."""
