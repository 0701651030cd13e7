"""Messages that can be replayed, and those of them that bulk replays have chosen and not yet sent again."""

from typing import Any
from uuid import UUID

from db.ledger import lists
from db.ledger.lists import MessageFilter, MessageItem
from db.ledger.states import REPLAYABLE
from db.session.connection import Connection


async def count(connection: Connection, wanted: MessageFilter) -> int:
    """Return how many messages match and can be replayed.

    Args:
        connection: of a login that may read the ledger.
        wanted: which messages.
    """
    arguments: list[Any] = []
    return int(
        await connection.fetchval(
            f"SELECT count(*) FROM shared.messages m WHERE {REPLAYABLE} AND {wanted.where(arguments)}",
            *arguments,
        )
    )


async def list_(connection: Connection, wanted: MessageFilter, *, limit: int) -> list[MessageItem]:
    """Return messages that match and can be replayed, newest first.

    Args:
        connection: of a login that may read the ledger.
        wanted: which messages.
        limit: most messages to return.
    """
    arguments: list[Any] = [limit]
    rows = await connection.fetch(
        f"""
        SELECT m.id FROM shared.messages m WHERE {REPLAYABLE} AND {wanted.where(arguments)}
        ORDER BY m.id DESC LIMIT $1
        """,
        *arguments,
    )
    return await lists.list_by_id(connection, [row["id"] for row in rows])


async def choose(connection: Connection, replay_id: UUID, wanted: MessageFilter) -> int:
    """Choose the messages of a bulk replay: those that match and can be replayed now.

    Args:
        connection: in the transaction that wrote the replay.
        replay_id: the replay's id.
        wanted: which messages.

    Returns:
        The number of messages chosen.
    """
    arguments: list[Any] = [replay_id]
    chosen = await connection.execute(
        f"""
        INSERT INTO shared.replay_messages (replay_id, message_id)
        SELECT $1, m.id FROM shared.messages m WHERE {REPLAYABLE} AND {wanted.where(arguments)}
        """,
        *arguments,
    )
    return int(chosen.split()[-1])


async def take(connection: Connection, replay_id: UUID, *, limit: int) -> list[UUID]:
    """Take the oldest messages off those that a bulk replay has chosen, and return their ids.

    Args:
        connection: in the transaction that replays them.
        replay_id: the replay's id.
        limit: most messages to take.
    """
    rows = await connection.fetch(
        """
        DELETE FROM shared.replay_messages WHERE replay_id = $1 AND message_id IN (
          SELECT message_id FROM shared.replay_messages WHERE replay_id = $1 ORDER BY message_id LIMIT $2)
        RETURNING message_id
        """,
        replay_id,
        limit,
    )
    return [row["message_id"] for row in rows]


async def has_left(connection: Connection, replay_id: UUID) -> bool:
    """Return True if a bulk replay has chosen messages that nobody has taken."""
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT FROM shared.replay_messages WHERE replay_id = $1)", replay_id
        )
    )


async def drop(connection: Connection, replay_id: UUID) -> None:
    """Forget the messages that a bulk replay has chosen and nobody has taken."""
    await connection.execute("DELETE FROM shared.replay_messages WHERE replay_id = $1", replay_id)
