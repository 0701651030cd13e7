"""Remedies: what operators do about a message. Each is audited, in the transaction of its change."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec
from asyncpg import Record

from db import audit, contracts, ledger, registry
from db.audit import By
from db.connection import Connection
from db.contracts import ContractError, Message, Signup


class NoMessage(LookupError):  # noqa: N818 - reads as what was met
    """There is no message of this id."""


class Refused(Exception):  # noqa: N818 - reads as what was met
    """The message is in a state in which this cannot be done.

    Args:
        message_id: the message's.
        kind: command or event.
        status: what it is in.
        verb: what was asked for, such as ``replayed``.
    """

    def __init__(self, message_id: UUID, kind: str, status: str, verb: str) -> None:
        super().__init__(f"{kind} {message_id} is {status}, and cannot be {verb}")


class Succeeded(Refused):
    """The message was edited before; what it has become is what can be edited now.

    Args:
        message_id: the message's.
        successor: what it has become.
    """

    def __init__(self, message_id: UUID, successor: UUID) -> None:
        Exception.__init__(self, f"{message_id} has become {successor}; edit that")


REPLAYABLE: Final = """
  (m.kind = 'command' AND m.status IN ('parked', 'archived', 'handled')
    OR m.kind = 'event' AND m.status = 'published')
"""
"""What may run again: what has come to an end, other than by its tenant's having moved on."""


async def replay(connection: Connection, message_ids: Sequence[UUID], *, by: By) -> int:
    """Send messages again under their own ids; those that cannot be are passed over.

    A parked or archived command gets all of its attempts anew, a handled one runs again and finds
    nothing to do, an event is published again.

    Args:
        connection: within a transaction.
        message_ids: which.
        by: who, and why.

    Returns:
        How many were sent again.
    """
    rows = await connection.fetch(
        f"""
        SELECT m.id, m.tenant_id, m.status, m.error_class FROM shared.messages m
        WHERE m.id = ANY($1) AND {REPLAYABLE} ORDER BY m.id FOR NO KEY UPDATE
        """,
        list(message_ids),
    )
    await connection.execute(
        """
        UPDATE shared.messages
        SET status = 'pending', attempts = 0, replays = replays + 1, available_at = now(),
            leased_until = NULL, published_at = NULL, handled_at = NULL
        WHERE id = ANY($1)
        """,
        [row["id"] for row in rows],
    )
    for row in rows:
        detail = {"was": row["status"], "error_class": row["error_class"]}
        await _record(connection, "message.replay", row["id"], row["tenant_id"], by, **detail)
    return len(rows)


async def replay_one(connection: Connection, message_id: UUID, *, by: By) -> None:
    """Send one message again, within the caller's transaction.

    Raises:
        NoMessage: there is no such.
        Refused: it has not come to an end yet, or is superseded.
    """
    if not await replay(connection, [message_id], by=by):
        raise await _refusal(connection, message_id, "replayed")


async def archive(connection: Connection, message_id: UUID, *, by: By) -> None:
    """Put a parked command away, within the caller's transaction.

    Raises:
        NoMessage: there is no such.
        Refused: it is not parked.
    """
    await _move(connection, message_id, ("parked", "archived"), by, verb="archived")


async def restore(connection: Connection, message_id: UUID, *, by: By) -> None:
    """Take an archived command back among the parked ones, within the caller's transaction.

    Raises:
        NoMessage: there is no such.
        Refused: it is not archived.
    """
    await _move(connection, message_id, ("archived", "parked"), by, verb="restored")


async def edit(connection: Connection, message_id: UUID, payload: dict[str, Any], *, by: By) -> UUID:
    """Send a parked or archived command again with other data, as a message of its own.

    What was unknown when it arrived can only become a sign-up from outside.

    The old one is archived, and is the new one's cause. The new one takes its place behind what its
    tenant has been through meanwhile. A sign-up from outside keeps its source and id, by which the flow
    that sent it knows the answer.

    Args:
        connection: within a transaction.
        message_id: the old one's.
        payload: the CloudEvent as it was read and changed, or its ``data`` alone. Of a CloudEvent only
            ``data`` counts: the rest is made anew, but for the source and id of what was unknown.
        by: who, and why.

    Returns:
        The new one's id.

    Raises:
        NoMessage: there is no such.
        Refused: it is neither parked nor archived, or was edited before.
        ContractError: the data does not fit the type, names no tenant, or is a sign-up that another message
            is already.
    """
    row = await connection.fetchrow(
        """
        SELECT id, type, priority, tenant_id, source, source_id FROM shared.messages
        WHERE id = $1 AND kind = 'command' AND status IN ('parked', 'archived') FOR NO KEY UPDATE
        """,
        message_id,
    )
    if row is None:
        raise await _refusal(connection, message_id, "edited")
    type_ = Signup.type if row["type"] == ledger.UNKNOWN else row["type"]
    successor = await connection.fetchval(
        "SELECT id FROM shared.messages WHERE caused_by = $1 AND kind = 'command' AND type = $2 LIMIT 1",
        message_id,
        type_,
    )
    if successor is not None:
        raise Succeeded(message_id, successor)
    made = await _edited(connection, row, type_, payload)
    await connection.execute(
        "UPDATE shared.messages SET status = 'archived', source = NULL, source_id = NULL WHERE id = $1",
        message_id,
    )
    try:
        await ledger.append(connection, [made])
    except asyncpg.UniqueViolationError as error:
        raise ContractError(f"{made.source_id} of {made.source} is another message already") from error
    await _record(connection, "message.edit", message_id, row["tenant_id"], by, became=str(made.id))
    await _record(connection, "message.edit", made.id, made.tenant_id, by, instead_of=str(message_id))
    return made.id


async def _edited(connection: Connection, old: Record, type_: str, payload: dict[str, Any]) -> Message:
    source, source_id = old["source"], old["source_id"]
    if "specversion" in payload:
        if payload.get("type") != type_:
            raise ContractError(f"the type is {type_}, and stays so")
        if type_ == Signup.type and source is None:
            event = contracts.signup(msgspec.json.encode(payload))
            source, source_id = event.source, event.id
        payload = payload.get("data") or {}
    command = contracts.command(type_, msgspec.json.encode({**_ENVELOPE, "type": type_, "data": payload}))
    tenant_id: UUID | None = getattr(command, "tenant_id", None)
    if tenant_id is None:
        return contracts.message(
            command, caused_by=old["id"], priority=old["priority"], source=source, source_id=source_id
        )
    tenant = await registry.get(connection, tenant_id)
    if tenant is None:
        raise ContractError(f"{type_}: no tenant {tenant_id}")
    return registry.about(tenant, command, caused_by=old["id"], priority=old["priority"])


_ENVELOPE: Final = {"specversion": "1.0", "id": "-", "source": "-", "time": "1970-01-01T00:00:00Z"}


async def _move(
    connection: Connection, message_id: UUID, states: tuple[str, str], by: By, *, verb: str
) -> None:
    row = await connection.fetchrow(
        "UPDATE shared.messages SET status = $3 WHERE id = $1 AND status = $2 RETURNING tenant_id",
        message_id,
        *states,
    )
    if row is None:
        raise await _refusal(connection, message_id, verb)
    await _record(connection, f"message.{verb.removesuffix('d')}", message_id, row["tenant_id"], by)


async def _refusal(connection: Connection, message_id: UUID, verb: str) -> NoMessage | Refused:
    row = await connection.fetchrow("SELECT kind, status FROM shared.messages WHERE id = $1", message_id)
    if row is None:
        return NoMessage(f"no message {message_id}")
    return Refused(message_id, row["kind"], row["status"], verb)


async def _record(
    connection: Connection, action: str, message_id: UUID, tenant_id: UUID | None, by: By, **more: str | None
) -> None:
    await audit.record(
        connection,
        actor=by.actor,
        action=action,
        tenant_id=tenant_id,
        request_id=by.request_id,
        detail={"message_id": str(message_id), "reason": by.reason}
        | {name: value for name, value in more.items() if value is not None},
    )
