"""Whatever is done to a command in whatever state, it goes where the table of states lets it, or stays."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg
import pytest

from db.audit import By
from db.control import messages
from db.errors import WrongStateError
from db.ledger import inbox
from db.ledger.inbox import Failure
from db.ledger.states import OF_COMMANDS, MessageStatus
from tests.support import signed_up

BY = By("test", None, "because")
FAILURE = Failure("Disk", "full")

ACTS: dict[str, tuple[MessageStatus, Callable[[asyncpg.Connection, UUID], Awaitable[object]]]] = {
    "attempt": ("published", inbox.begin_attempt),
    "handle": ("handled", inbox.mark_handled),
    "supersede": ("superseded", lambda c, id_: inbox.mark_handled(c, id_, status="superseded")),
    "retry": ("pending", lambda c, id_: inbox.retry(c, id_, FAILURE, delay=0)),
    "give back": ("pending", lambda c, id_: inbox.give_back_attempt(c, id_, delay=0)),
    "postpone": ("pending", lambda c, id_: inbox.postpone(c, id_, delay=0)),
    "park": ("parked", lambda c, id_: inbox.park(c, id_, FAILURE)),
    "archive": ("archived", lambda c, id_: messages.archive(c, id_, BY)),
    "restore": ("parked", lambda c, id_: messages.restore(c, id_, BY)),
    "replay": ("pending", lambda c, id_: messages.replay_one(c, id_, BY)),
}
ONLY_FROM: dict[str, set[MessageStatus]] = {
    "park": {"pending", "published"},
    "restore": {"archived"},
    "replay": {"handled", "parked", "archived"},
}
"""Acts that are meant for fewer states than the table would allow."""


@pytest.mark.parametrize("act", ACTS)
async def test_an_act_moves_a_command_from_the_states_that_the_table_names_only(
    owner: asyncpg.Connection, act: str
) -> None:
    async with owner.transaction():
        await signed_up(owner, "bakery")
    message_id = await owner.fetchval("SELECT id FROM shared.messages WHERE kind = 'command'")
    to, do = ACTS[act]
    moved = set()
    for before in OF_COMMANDS:
        await owner.execute("UPDATE shared.messages SET status = $2 WHERE id = $1", message_id, before)
        try:
            async with owner.transaction():
                await do(owner, message_id)
        except WrongStateError:
            pass
        after = await owner.fetchval("SELECT status FROM shared.messages WHERE id = $1", message_id)
        assert after in {before, to}, (before, after)
        if after != before:
            assert after in OF_COMMANDS[before], (before, after)
            moved.add(before)
    meant = {before for before, follow in OF_COMMANDS.items() if to in follow}
    if to == "pending" and act not in ONLY_FROM:
        meant = {"published"}
    assert moved == meant & ONLY_FROM.get(act, meant)
