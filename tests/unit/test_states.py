"""States of messages: which may follow which, and that the statements on the ledger keep to it.

What statements do to rows is in tests/integration/test_states.py; here is what their texts ask for.
"""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast, get_args
from uuid import UUID

import pytest

from db.ledger import acts, inbox, intake, outbox, states
from db.ledger.inbox import Failure
from db.ledger.states import OF_COMMANDS, OF_EVENTS, MessageStatus, before
from db.models import shared
from db.session.connection import Connection
from db.tenants.states import TRANSITIONS, TenantStatus

LEDGER = Path(states.__file__).parent
ID = UUID(int=1)
FAILURE = Failure("Disk", "full")


class Written:
    """A connection that only keeps the texts of statements."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def execute(self, text: str, *_: Any) -> str:
        self.texts.append(text)
        return "UPDATE 0"

    async def fetch(self, text: str, *_: Any) -> list[Any]:
        self.texts.append(text)
        return []

    async def fetchrow(self, text: str, *_: Any) -> None:
        self.texts.append(text)

    fetchval = fetchrow


def asked(text: str, kind: str) -> set[str]:
    """Return the states that a statement asks for of messages of a kind."""
    found = re.findall(rf"kind = '{kind}' AND (?:m\.)?status IN \(([^)]*)\)", text)
    return {status for listed in found for status in re.findall(r"'(\w+)'", listed)}


def test_every_state_of_a_command_has_its_line() -> None:
    assert set(OF_COMMANDS) == set(get_args(MessageStatus))
    assert {after for follow in OF_COMMANDS.values() for after in follow} <= set(OF_COMMANDS)
    assert {after for follow in OF_EVENTS.values() for after in follow} <= set(OF_EVENTS)


def test_every_state_of_a_tenant_has_its_line() -> None:
    assert set(TRANSITIONS) == set(get_args(TenantStatus))


def test_the_tables_admit_exactly_these_states() -> None:
    assert set(shared.STATUSES) == set(get_args(TenantStatus))
    assert set(shared.MESSAGE_STATUSES) == set(get_args(MessageStatus))


def test_nothing_follows_on_superseded() -> None:
    assert OF_COMMANDS["superseded"] == frozenset()


def test_a_command_is_open_stopped_or_finished() -> None:
    assert {"pending", "published"} == states.IN_FLIGHT
    assert {"parked", "archived"} == states.STOPPED
    assert {"handled", "superseded"} == states.FINISHED
    assert set(OF_COMMANDS) == states.IN_FLIGHT | states.STOPPED | states.FINISHED


OPEN = {"pending", "published"}
MOVES: dict[str, tuple[Callable[[Connection], Awaitable[object]], MessageStatus, set[str], set[str]]] = {
    "begin_attempt": (lambda c: inbox.begin_attempt(c, ID), "published", OPEN, set()),
    "give_back_attempt": (lambda c: inbox.give_back_attempt(c, ID, delay=0), "pending", OPEN, set()),
    "postpone": (lambda c: inbox.postpone(c, ID, delay=0), "pending", OPEN, set()),
    "retry": (lambda c: inbox.retry(c, ID, FAILURE, delay=0), "pending", OPEN, set()),
    "mark_handled": (lambda c: inbox.mark_handled(c, ID), "handled", OPEN, set()),
    "supersede": (lambda c: inbox.mark_handled(c, ID, status="superseded"), "superseded", OPEN, set()),
    "park": (lambda c: inbox.park(c, ID, FAILURE), "parked", OPEN, set()),
    "park_left": (lambda c: acts.park_left(c, ID), "parked", {"pending"}, set()),
    "archive": (lambda c: acts.archive(c, ID), "archived", {"parked"}, set()),
    "restore": (lambda c: acts.restore(c, ID), "parked", {"archived"}, set()),
    "give_way": (lambda c: acts.give_way(c, ID), "archived", {"parked", "archived"}, set()),
    "lease": (
        lambda c: outbox.lease(c, limit=1, seconds=1, in_flight=1),
        "published",
        {"pending", "published"},  # published ones are counted
        {"pending"},
    ),
    "mark_published": (lambda c: outbox.mark_published(c, []), "published", {"pending"}, {"pending"}),
    "republish": (lambda c: outbox.republish(c, older_than=1, held=0), "pending", {"published"}, set()),
    "lock_replayable": (
        lambda c: acts.lock_replayable(c, [ID]),
        "pending",
        {"handled", "parked", "archived"},
        {"published"},
    ),
    "send_again": (
        lambda c: outbox.send_again(c, [ID]),
        "pending",
        {"handled", "parked", "archived"},
        {"published"},
    ),
    "answer_again": (lambda c: intake.answer_again(c, ID), "pending", set(), {"published"}),
}
"""Each statement that moves messages: where to, and from which states of commands and of events."""


@pytest.mark.parametrize("name", MOVES)
async def test_a_statement_moves_messages_from_states_of_the_table_only(name: str) -> None:
    do, to, commands, events = MOVES[name]
    written = Written()
    await do(cast("Connection", written))
    text = written.texts[0]
    assert asked(text, "command") == commands
    assert asked(text, "event") == events
    assert commands - {to} <= before(to)
    assert events - {to} <= before(to, "event")


async def test_what_is_swept_is_finished() -> None:
    written = Written()
    await outbox.sweep(cast("Connection", written), days=1)
    assert asked(written.texts[0], "command") == states.FINISHED
    assert asked(written.texts[0], "event") == {"published"}


async def test_what_can_still_come_is_all_that_is_not_finished() -> None:
    written = Written()
    await inbox.has_open_or_replayable(cast("Connection", written), ID, "tenant.provision")
    assert asked(written.texts[0], "command") == set(OF_COMMANDS) - states.FINISHED


def test_lists_of_states_stand_beside_the_table_only() -> None:
    found = [path.name for path in sorted(LEDGER.glob("*.py")) if "status IN (" in path.read_text()]
    assert found == ["states.py"]
