"""Statements of operators' acts on single messages. `db.control.messages` checks and audits the acts."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec
from asyncpg import Record

from db.ledger.envelope import BULK
from db.ledger.states import (
    ARCHIVABLE,
    IS_STOPPED,
    REPLAYABLE,
    RESTORABLE,
    WAITS,
    MessageKind,
    MessageStatus,
)
from db.session.connection import Connection

LEFT_TO_A_NEWER_RELEASE: Final = frozenset({"UnknownRevisionError", "UnknownTypeError"})
"""Error classes of commands that wait for a release which knows their revision or their type."""


class MessageRow(msgspec.Struct, frozen=True, kw_only=True):
    """A message that an operator acts on, with the columns that acts need."""

    id: UUID
    kind: MessageKind
    type: str
    status: MessageStatus
    priority: int
    tenant_id: UUID | None
    error_class: str | None
    source: str | None
    source_id: str | None

    @classmethod
    def of(cls, row: Record) -> "MessageRow":
        return cls(**{name: row[name] for name in cls.__struct_fields__})


_COLUMNS: Final = ", ".join(f"m.{name}" for name in MessageRow.__struct_fields__)


async def get(connection: Connection, message_id: UUID) -> MessageRow | None:
    """Return the message with this id, whatever its state, or None if there is no such message."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM shared.messages m WHERE id = $1", message_id)
    return MessageRow.of(row) if row else None


async def lock_replayable(connection: Connection, message_ids: Sequence[UUID]) -> list[MessageRow]:
    """Return those of these messages that can be replayed, in order of their ids, and lock their rows.

    Args:
        connection: in a transaction.
        message_ids: the messages' ids.
    """
    rows = await connection.fetch(
        f"""
        SELECT {_COLUMNS} FROM shared.messages m
        WHERE m.id = ANY($1) AND {REPLAYABLE} ORDER BY m.id FOR NO KEY UPDATE
        """,
        list(message_ids),
    )
    return [MessageRow.of(row) for row in rows]


async def lock_stopped(connection: Connection, message_id: UUID) -> MessageRow | None:
    """Return a parked or archived command, and lock its row. Return None if the message is no such command.

    Args:
        connection: in a transaction.
        message_id: the message's id.
    """
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM shared.messages m WHERE id = $1 AND {IS_STOPPED} FOR NO KEY UPDATE",
        message_id,
    )
    return MessageRow.of(row) if row else None


async def get_successor(connection: Connection, message_id: UUID, type_: str) -> UUID | None:
    """Return the id of the command of this type that has taken a command's place, or None."""
    return await connection.fetchval(  # type: ignore[no-any-return]
        "SELECT id FROM shared.messages WHERE caused_by = $1 AND kind = 'command' AND type = $2 LIMIT 1",
        message_id,
        type_,
    )


async def archive(connection: Connection, message_id: UUID) -> MessageRow | None:
    """Archive a parked command. Return it as it is now, or None if the message is no such command."""
    row = await connection.fetchrow(
        f"""
        UPDATE shared.messages m SET status = 'archived' WHERE id = $1 AND {ARCHIVABLE}
        RETURNING {_COLUMNS}
        """,
        message_id,
    )
    return MessageRow.of(row) if row else None


async def park_left(connection: Connection, message_id: UUID) -> None:
    """Park a command if it waits for a newer release, as nothing else would end it."""
    await connection.execute(
        f"""
        UPDATE shared.messages SET status = 'parked', leased_until = NULL
        WHERE id = $1 AND {WAITS} AND error_class = ANY($2)
        """,
        message_id,
        sorted(LEFT_TO_A_NEWER_RELEASE),
    )


async def restore(connection: Connection, message_id: UUID) -> MessageRow | None:
    """Park an archived command. Return it as it is now, or None if the message is no such command."""
    row = await connection.fetchrow(
        f"""
        UPDATE shared.messages m SET status = 'parked' WHERE id = $1 AND {RESTORABLE}
        RETURNING {_COLUMNS}
        """,
        message_id,
    )
    return MessageRow.of(row) if row else None


async def make_bulk(connection: Connection, message_ids: Sequence[UUID]) -> None:
    """Give messages the priority of bulk work. The caller, of the owner, has locked their rows."""
    await connection.execute(
        f"UPDATE shared.messages SET priority = {BULK} WHERE id = ANY($1) AND priority > {BULK}", message_ids
    )


async def give_way(connection: Connection, message_id: UUID) -> None:
    """Archive a parked or archived command for its successor, which takes over its source and id."""
    await connection.execute(
        f"""
        UPDATE shared.messages SET status = 'archived', source = NULL, source_id = NULL
        WHERE id = $1 AND {IS_STOPPED}
        """,
        message_id,
    )
