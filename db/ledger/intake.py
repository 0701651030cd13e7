"""The intake: sign-ups from outside enter the ledger once for each (source, id), however often they are sent."""

from typing import Final
from uuid import UUID

import msgspec
import uuid_utils.compat as uuid7

from db.ledger import contracts
from db.ledger.contracts import Rejected, Requested, Signup
from db.ledger.envelope import SIGN_UP, SignupEvent
from db.ledger.states import FINISHED, IN_FLIGHT, REPEATABLE_EVENT
from db.session.connection import Connection

_ANSWERS: Final = [Requested.type, Rejected.type]


async def is_sent_again(connection: Connection, message_id: UUID) -> bool:
    """Return True if this is the id of a sign-up in the ledger, delivered for a retry or a replay."""
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT FROM shared.messages WHERE id = $1 AND kind = 'command' AND type = ANY($2))",
            message_id,
            list(contracts.SIGN_UPS),
        )
    )


async def admit(connection: Connection, event: SignupEvent) -> UUID | None:
    """Write a sign-up to the ledger, unless the ledger has it.

    If the sign-up was handled before, its answer is published again.

    Args:
        connection: in a transaction.
        event: the sign-up that arrived.

    Returns:
        The id of the row to be handled. None if the row was handled, or waits for an operator.
    """
    row_id: UUID | None = await connection.fetchval(
        """
        INSERT INTO shared.messages (id, kind, type, priority, payload, status, published_at, source, source_id)
        VALUES ($1, 'command', $2, $3, $4::jsonb, 'published', now(), $5, $6)
        ON CONFLICT (source, source_id) DO NOTHING RETURNING id
        """,
        uuid7.uuid7(),
        Signup.type,
        SIGN_UP,
        msgspec.json.encode(event).decode(),
        event.source,
        event.id,
    )
    if row_id is not None:
        return row_id
    row = await connection.fetchrow(
        "SELECT id, status FROM shared.messages WHERE source = $1 AND source_id = $2 FOR NO KEY UPDATE",
        event.source,
        event.id,
    )
    if row is None:
        return None  # just swept, so it was answered long ago
    if row["status"] in FINISHED:
        await answer_again(connection, row["id"])
        return None
    return row["id"] if row["status"] in IN_FLIGHT else None


async def settle(connection: Connection, message_id: UUID, event: SignupEvent) -> bool:
    """Make a row a sign-up with the event's source and id, whatever its type was when it arrived.

    Returns:
        False if another row has the same source and id; that row's answer is published again.
    """
    first = await connection.fetchval(
        "SELECT id FROM shared.messages WHERE source = $1 AND source_id = $2 AND id <> $3",
        event.source,
        event.id,
        message_id,
    )
    if first is not None:
        await answer_again(connection, first)
        return False
    await connection.execute(
        "UPDATE shared.messages SET type = $2, source = $3, source_id = $4 WHERE id = $1",
        message_id,
        Signup.type,
        event.source,
        event.id,
    )
    return True


async def set_tenant(connection: Connection, message_id: UUID, tenant_id: UUID) -> None:
    """Record the tenant that a sign-up has made."""
    await connection.execute("UPDATE shared.messages SET tenant_id = $2 WHERE id = $1", message_id, tenant_id)


async def answer_again(connection: Connection, message_id: UUID) -> bool:
    """Have a sign-up's answer published again with the same id. Return False if there is no answer yet."""
    await connection.execute(
        f"""
        UPDATE shared.messages SET status = 'pending', available_at = now(), published_at = NULL
        WHERE caused_by = $1 AND type = ANY($2) AND {REPEATABLE_EVENT}
        """,
        message_id,
        _ANSWERS,
    )
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT FROM shared.messages"
            " WHERE caused_by = $1 AND kind = 'event' AND type = ANY($2))",
            message_id,
            _ANSWERS,
        )
    )
