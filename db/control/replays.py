"""Bulk replays: many messages, chosen once and kept in PostgreSQL, sent again at a rate.

The messages are chosen when the replay begins, so that those that the operator confirmed are sent again,
each once, even if they fail again meanwhile. A replay outlives the process that began it. Any number of
processes can advance it: a step locks the replay's row, and there is at most one step each second.
"""

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
import uuid_utils.compat as uuid7
from asyncpg import Record
from msgspec import Meta

from db import audit
from db.audit import By
from db.control import messages
from db.errors import TenantryError
from db.ledger import replayable
from db.ledger.lists import MessageFilter, MessageItem
from db.session.connection import Connection

Rate = Annotated[int, Meta(ge=1, le=1000, description="Messages a second, at most.")]
DEFAULT_RATE: Final = 10
_SAMPLE: Final = 5


class CountMismatchError(TenantryError):
    """More or fewer messages match than the operator expected; nothing was done."""

    kind = "count-mismatch"

    def __init__(self, count: int, expected: int) -> None:
        super().__init__(f"{count} messages match, not {expected}")


class UnknownReplayError(TenantryError):
    """There is no bulk replay with this id."""

    kind = "not-found"

    def __init__(self, replay_id: UUID) -> None:
        super().__init__(f"no replay {replay_id}")


class Preview(msgspec.Struct, frozen=True):
    """What a bulk replay would send again: the number of messages, and the newest of them."""

    count: int
    sample: list[MessageItem]


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """A bulk replay and its progress.

    Args:
        count: the number of messages chosen.
        done: the number of messages sent again so far.
        skipped: the number of messages that could no longer be replayed when their turn came.
    """

    id: UUID
    filter: MessageFilter
    rate: int
    reason: str
    actor: str
    count: int
    done: int
    skipped: int
    status: Literal["running", "finished", "cancelled"]
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, row: Record) -> "Replay":
        values = {name: row[name] for name in cls.__struct_fields__}
        return cls(**values | {"filter": msgspec.json.decode(row["filter"], type=MessageFilter)})


_COLUMNS: Final = ", ".join(
    "total AS count" if name == "count" else name for name in Replay.__struct_fields__
)


async def preview(connection: Connection, wanted: MessageFilter) -> Preview:
    """Return what a bulk replay would send again, and change nothing."""
    count = await replayable.count(connection, wanted)
    return Preview(count, await replayable.list_(connection, wanted, limit=_SAMPLE))


async def start(
    connection: Connection, wanted: MessageFilter, by: By, *, rate: int, expected_count: int | None = None
) -> Replay:
    """Begin a bulk replay of the messages that match and can be replayed now.

    Args:
        connection: in a transaction.
        wanted: which messages.
        by: who replays the messages, and why.
        rate: most messages to send again each second.
        expected_count: the number of messages that the operator expects, if given.

    Raises:
        CountMismatchError: more or fewer messages match. The transaction must be rolled back.
    """
    replay_id = uuid7.uuid7()
    await connection.execute(
        """
        INSERT INTO shared.replays (id, filter, rate, reason, actor, total)
        VALUES ($1, $2::jsonb, $3, $4, $5, 0)
        """,
        replay_id,
        msgspec.json.encode(wanted).decode(),
        rate,
        by.reason or "",
        by.actor,
    )
    count = await replayable.choose(connection, replay_id, wanted)
    if expected_count is not None and count != expected_count:
        raise CountMismatchError(count, expected_count)
    row = await connection.fetchrow(
        f"""
        UPDATE shared.replays SET total = $2, status = CASE WHEN $2 = 0 THEN 'finished' ELSE status END,
          finished_at = CASE WHEN $2 = 0 THEN now() END
        WHERE id = $1 RETURNING {_COLUMNS}
        """,
        replay_id,
        count,
    )
    assert row is not None  # it was just written
    await audit.record(connection, by, "replay.start", replay_id=replay_id, count=count)
    return Replay.of(row)


async def get(connection: Connection, replay_id: UUID) -> Replay | None:
    """Return the bulk replay with this id, or None if there is no such replay."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM shared.replays WHERE id = $1", replay_id)
    return Replay.of(row) if row else None


async def cancel(connection: Connection, replay_id: UUID, by: By) -> Replay:
    """Cancel a bulk replay: send no more of its messages. If it is over, change nothing.

    Args:
        connection: in a transaction.
        replay_id: the replay's id.
        by: who cancels the replay, and why.

    Returns:
        The replay as it is now.

    Raises:
        UnknownReplayError: there is no bulk replay with this id.
    """
    row = await connection.fetchrow(
        f"""
        UPDATE shared.replays SET status = 'cancelled', finished_at = now()
        WHERE id = $1 AND status = 'running' RETURNING {_COLUMNS}
        """,
        replay_id,
    )
    if row is None:
        over = await get(connection, replay_id)
        if over is None:
            raise UnknownReplayError(replay_id)
        return over
    await replayable.drop(connection, replay_id)
    await audit.record(connection, by, "replay.cancel", replay_id=replay_id, done=row["done"])
    return Replay.of(row)


async def advance(connection: Connection) -> bool:
    """Replay the next second's messages of a bulk replay that is due and that no other session advances.

    Args:
        connection: of the owner, not in a transaction.

    Returns:
        True if there was such a replay.
    """
    async with connection.transaction():
        row = await connection.fetchrow(
            f"""
            SELECT {_COLUMNS} FROM shared.replays WHERE status = 'running' AND next_at <= clock_timestamp()
            ORDER BY next_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
            """
        )
        if row is None:
            return False
        replay = Replay.of(row)
        taken = await replayable.take(connection, replay.id, limit=replay.rate)
        by = By(replay.actor, str(replay.id), replay.reason)
        done = await messages.replay(connection, taken, by, bulk=True)
        left = await replayable.has_left(connection, replay.id)
        await connection.execute(
            """
            UPDATE shared.replays
            SET done = done + $2, skipped = skipped + $3, next_at = clock_timestamp() + interval '1 second',
                status = CASE WHEN $4 THEN status ELSE 'finished' END,
                finished_at = CASE WHEN $4 THEN NULL ELSE now() END
            WHERE id = $1
            """,
            replay.id,
            done,
            len(taken) - done,
            left,
        )
    return True
