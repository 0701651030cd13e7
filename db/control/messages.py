"""Operators' acts on single messages. Each act runs in its caller's transaction and writes an audit entry."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from db import audit
from db.audit import By
from db.control import rollouts
from db.errors import TenantryError, WrongStateError
from db.ledger import acts, contracts, envelope, outbox
from db.ledger.acts import MessageRow
from db.ledger.contracts import UNKNOWN, ContractError, Signup
from db.ledger.envelope import Message
from db.session.connection import Connection
from db.tenants import registry


class UnknownMessageError(TenantryError):
    """There is no message with this id."""

    kind = "not-found"

    def __init__(self, message_id: UUID) -> None:
        super().__init__(f"no message {message_id}")


async def replay(connection: Connection, message_ids: Sequence[UUID], by: By, *, bulk: bool = False) -> int:
    """Replay messages: send them again with their own ids. Skip messages that cannot be replayed.

    A parked or archived command gets all of its attempts again. A handled command runs again and finds its
    work done. An event is published again.

    Args:
        connection: in a transaction.
        message_ids: the messages' ids.
        by: who replays the messages, and why.
        bulk: whether they wait for sign-ups from now on, even if they are of sign-ups. Only the owner may say so.

    Returns:
        The number of messages replayed.
    """
    targets = await acts.lock_replayable(connection, message_ids)
    if bulk:
        await acts.make_bulk(connection, [target.id for target in targets])
    await outbox.send_again(connection, [target.id for target in targets])
    for target in targets:
        await audit.record(
            connection,
            by,
            "message.replay",
            tenant_id=target.tenant_id,
            message_id=target.id,
            status_before=target.status,
            error_class=target.error_class,
        )
    return len(targets)


async def replay_one(connection: Connection, message_id: UUID, by: By) -> None:
    """Replay one message.

    Raises:
        UnknownMessageError: there is no message with this id.
        WrongStateError: the message has not come to an end, or is superseded.
    """
    if not await replay(connection, [message_id], by):
        raise await _refusal(connection, message_id, "replayed")


async def archive(connection: Connection, message_id: UUID, by: By) -> None:
    """Archive a parked command, or one that waits for a newer release.

    Raises:
        UnknownMessageError: there is no message with this id.
        WrongStateError: the message is no such command.
    """
    await acts.park_left(connection, message_id)
    archived = await acts.archive(connection, message_id)
    if archived is None:
        raise await _refusal(connection, message_id, "archived")
    await rollouts.strand(connection, message_id)
    await audit.record(connection, by, "message.archive", tenant_id=archived.tenant_id, message_id=message_id)


async def restore(connection: Connection, message_id: UUID, by: By) -> None:
    """Return an archived command to the parked ones.

    Raises:
        UnknownMessageError: there is no message with this id.
        WrongStateError: the message is not an archived command.
    """
    restored = await acts.restore(connection, message_id)
    if restored is None:
        raise await _refusal(connection, message_id, "restored")
    await audit.record(connection, by, "message.restore", tenant_id=restored.tenant_id, message_id=message_id)


async def edit(connection: Connection, message_id: UUID, payload: dict[str, Any], by: By) -> UUID:
    """Replace a parked or archived command with a new command of the same type and other data.

    The old command is archived, and is the cause of the new one; one audit entry tells of both. The new
    command is ordered by the tenant's version of now. A sign-up from outside keeps its source and id, by
    which the flow that sent it recognises the answer. A message of type ``unknown`` can only become a
    sign-up from outside.

    Args:
        connection: in a transaction.
        message_id: the old command's id.
        payload: the changed CloudEvent, or its ``data`` alone. Of a CloudEvent only ``data`` is used, and
            for a message of type ``unknown`` also the source and id.
        by: who edits the command, and why.

    Returns:
        The new command's id.

    Raises:
        UnknownMessageError: there is no message with this id.
        WrongStateError: the message is neither parked nor archived, or was edited before.
        ContractError: the data does not fit the type or names no tenant, or the source and id are those of
            another sign-up.
    """
    old = await acts.lock_stopped(connection, message_id)
    if old is None:
        raise await _refusal(connection, message_id, "edited")
    type_ = Signup.type if old.type == UNKNOWN else old.type
    successor = await acts.get_successor(connection, message_id, type_)
    if successor is not None:
        raise WrongStateError(f"{message_id} has become {successor}; edit that")
    made = await _edited(connection, old, type_, payload)
    await acts.give_way(connection, message_id)
    try:
        await outbox.append(connection, [made])
    except asyncpg.UniqueViolationError as error:
        raise ContractError(f"{made.source_id} of {made.source} is another message already") from error
    tenant_id = old.tenant_id or made.tenant_id
    await audit.record(
        connection,
        by,
        "message.edit",
        tenant_id=tenant_id,
        message_id=message_id,
        successor_id=made.id,
        successor_tenant_id=made.tenant_id if made.tenant_id != tenant_id else None,
    )
    return made.id


async def _edited(connection: Connection, old: MessageRow, type_: str, payload: dict[str, Any]) -> Message:
    source, source_id = old.source, old.source_id
    if "specversion" in payload:
        if payload.get("type") != type_:
            raise ContractError(f"the type is {type_}, and stays so")
        if type_ == Signup.type and source is None:
            event = envelope.signup(msgspec.json.encode(payload))
            source, source_id = event.source, event.id
        payload = payload.get("data") or {}
    command = contracts.command_of(type_, payload)
    tenant_id: UUID | None = getattr(command, "tenant_id", None)
    if tenant_id is None:
        return envelope.message(
            command, caused_by=old.id, priority=old.priority, source=source, source_id=source_id
        )
    tenant = await registry.get(connection, tenant_id)
    if tenant is None:
        raise ContractError(f"{type_}: no tenant {tenant_id}")
    return registry.about(tenant, command, caused_by=old.id, priority=old.priority)


async def _refusal(connection: Connection, message_id: UUID, verb: str) -> TenantryError:
    target = await acts.get(connection, message_id)
    if target is None:
        return UnknownMessageError(message_id)
    return WrongStateError(f"{target.kind} {message_id} is {target.status}, and cannot be {verb}")
