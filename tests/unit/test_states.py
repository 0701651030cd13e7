"""States of messages: which may follow which, and that the statements ask the table."""

from typing import get_args

import pytest

from db.ledger import states
from db.ledger.states import COMMANDS, EVENTS, MessageStatus, condition, may_become
from db.tenants.states import TRANSITIONS, TenantStatus


def test_every_state_of_a_command_has_its_line() -> None:
    assert set(COMMANDS) == set(get_args(MessageStatus))
    assert {after for follow in COMMANDS.values() for after in follow} <= set(COMMANDS)
    assert {after for follow in EVENTS.values() for after in follow} <= set(EVENTS)


def test_every_state_of_a_tenant_has_its_line() -> None:
    assert set(TRANSITIONS) == set(get_args(TenantStatus))


def test_nothing_follows_on_superseded() -> None:
    assert COMMANDS["superseded"] == frozenset()


@pytest.mark.parametrize(
    ("status", "before"),
    [
        ("parked", "'archived', 'pending', 'published'"),
        ("archived", "'parked'"),
        ("handled", "'pending', 'published'"),
        ("superseded", "'pending', 'published'"),
    ],
)
def test_a_statements_condition_is_the_tables(status: MessageStatus, before: str) -> None:
    assert may_become(status) == f"kind = 'command' AND status IN ({before})"


def test_what_has_ended_otherwise_than_by_being_superseded_may_be_sent_again() -> None:
    commands = condition("command", ["archived", "handled", "parked"], table="m.")
    assert f"({commands} OR {condition('event', ['published'], table='m.')})" == states.REPLAYABLE
