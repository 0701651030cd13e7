"""States of messages, and which may follow which. Every statement that changes one takes its condition here.

A delivery may overtake the mark of its publication, so ``pending`` may become ``handled``.
"""

from collections.abc import Collection
from typing import Final, Literal

MessageKind = Literal["command", "event"]
MessageStatus = Literal["pending", "published", "handled", "parked", "archived", "superseded"]

COMMANDS: Final[dict[MessageStatus, frozenset[MessageStatus]]] = {
    "pending": frozenset({"published", "handled", "parked", "superseded"}),
    # Pending again: for a retry, or since the broker has lost it.
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
"""States of commands that have not come to an end."""


def condition(kind: MessageKind, statuses: Collection[MessageStatus], *, table: str = "") -> str:
    """Return the SQL condition that a message is of this kind and in one of these states.

    Args:
        kind: commands or events.
        statuses: the states.
        table: the name of ``shared.messages`` in the statement, with its dot.
    """
    listed = ", ".join(f"'{status}'" for status in sorted(statuses))
    return f"{table}kind = '{kind}' AND {table}status IN ({listed})"


def may_become(status: MessageStatus) -> str:
    """Return the SQL condition that a command may go to ``status`` from where it is."""
    return condition("command", [before for before, after in COMMANDS.items() if status in after])


OPEN: Final = condition("command", IN_FLIGHT)
"""The SQL condition that a command has not come to an end."""

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
"""The SQL condition that message ``m`` has come to an end and may be sent again."""
