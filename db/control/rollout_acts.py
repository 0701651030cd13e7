"""Operators' acts on rollouts, each in its caller's transaction: to begin, pause, resume, retry and abort one."""

from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec
import uuid_utils.compat as uuid7
from asyncpg import Record

from db import audit
from db.audit import By
from db.control import rollout_tenants, rollouts
from db.control.rollout_orders import Order
from db.control.rollouts import OVER, Rollout, RolloutStatus, UnknownRolloutError
from db.errors import WrongStateError
from db.ledger.contracts import RolloutStarted
from db.session.connection import Connection

_INSERT: Final = f"""
INSERT INTO shared.rollouts (id, target, task, arguments, canary, wave, concurrency, rate, max_failures, bake_time,
  filter, reason, actor, current_wave, waves)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
RETURNING {rollouts.COLUMNS}
"""


async def start(connection: Connection, by: By, order: Order) -> Rollout:
    """Begin a rollout. Where nobody is behind, it is finished at once.

    Args:
        connection: in a transaction.
        by: who begins it, and why.
        order: what is ordered.

    Raises:
        InvalidValueError: a canary is no tenant that the rollout is for.
        WrongStateError: another rollout is neither finished nor aborted.
    """
    waves = order.waves
    await rollout_tenants.check_canary(connection, order.choice, waves)
    await _check_none_open(connection)
    rollout_id = uuid7.uuid7()
    due, _ = await rollout_tenants.count(connection, order.choice)
    span = await rollout_tenants.choose(connection, rollout_id, order.choice, waves, waves.size(due))
    row = await _insert(connection, rollout_id, by, order, span or (0, 0))
    await rollouts.tell(connection, RolloutStarted(rollout_id, order.target, order.task))
    await audit.record(
        connection,
        by,
        "rollout.start",
        rollout_id=rollout_id,
        revision=order.target,
        task=order.task,
        count=due,
    )
    if span is None:
        return await rollouts.finish(connection, rollout_id)
    await rollouts.send(connection, rollout_id, span[0])
    return await rollouts.of(connection, row)


async def _insert(
    connection: Connection, rollout_id: UUID, by: By, order: Order, span: tuple[int, int]
) -> Record:
    """Write a rollout whose waves have these numbers, and return its row."""
    try:
        row = await connection.fetchrow(
            _INSERT,
            rollout_id,
            order.target,
            order.task,
            _encoded(order.arguments),
            _encoded(order.waves.canary),
            _encoded(order.waves.wave),
            order.concurrency,
            order.rate,
            order.max_failures,
            order.bake_time,
            _encoded(order.choice.filter),
            by.reason or "",
            by.actor,
            *span,
        )
    except asyncpg.UniqueViolationError as error:
        raise WrongStateError("another rollout has just begun") from error
    assert row is not None  # it was just written
    return row


def _encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()


async def _check_none_open(connection: Connection) -> None:
    row = await connection.fetchrow(
        "SELECT id, status FROM shared.rollouts WHERE status NOT IN ('finished', 'aborted')"
    )
    if row is not None:
        raise WrongStateError(f"rollout {row['id']} is {row['status']}: one is carried out at a time")


async def pause(connection: Connection, rollout_id: UUID, by: By) -> Rollout:
    """Begin no more tenants until the rollout is resumed; those under way come to their end.

    Raises:
        UnknownRolloutError: there is no such rollout.
        WrongStateError: it is neither planned nor running.
    """
    await _lock(connection, rollout_id, {"planned", "running"}, "paused")
    return await _become(connection, rollout_id, "paused", by, "rollout.pause")


async def abort(connection: Connection, rollout_id: UUID, by: By) -> Rollout:
    """End a rollout. Tenants that wait stay where they are; those under way come to their end.

    Raises:
        UnknownRolloutError: there is no such rollout.
        WrongStateError: it is over.
    """
    await _lock(connection, rollout_id, {"planned", "running", "paused", "halted"}, "aborted")
    return await _become(connection, rollout_id, "aborted", by, "rollout.abort")


async def resume(connection: Connection, rollout_id: UUID, by: By) -> Rollout:
    """Go on with the tenants that wait. Failures are counted anew.

    Raises:
        UnknownRolloutError: there is no such rollout.
        WrongStateError: it is neither paused nor halted.
    """
    wave = await _lock(connection, rollout_id, {"paused", "halted"}, "resumed")
    await rollouts.send(connection, rollout_id, wave)
    return await _become(connection, rollout_id, "running", by, "rollout.resume")


async def retry(connection: Connection, rollout_id: UUID, by: By) -> Rollout:
    """Go on, also with the tenants that have failed. Failures are counted anew.

    Raises:
        UnknownRolloutError: there is no such rollout.
        WrongStateError: it is not paused, halted or finished, no tenant has failed, or another rollout is open.
    """
    wave = await _lock(connection, rollout_id, {"paused", "halted", "finished"}, "retried")
    status = await connection.execute(
        """
        UPDATE shared.rollout_tenants SET status = 'waiting', wave = $2, attempts = 0, available_at = now()
        WHERE rollout_id = $1 AND status = 'failed'
        """,
        rollout_id,
        wave,
    )
    if status == "UPDATE 0":
        raise WrongStateError(f"no tenant of rollout {rollout_id} has failed")
    await rollouts.send(connection, rollout_id, wave)
    try:
        return await _become(connection, rollout_id, "running", by, "rollout.retry")
    except asyncpg.UniqueViolationError as error:
        raise WrongStateError("another rollout is carried out now") from error


async def _lock(connection: Connection, rollout_id: UUID, allowed: set[RolloutStatus], act: str) -> int:
    """Lock a rollout's row, and return the wave that it is at."""
    row = await connection.fetchrow(
        "SELECT status, current_wave FROM shared.rollouts WHERE id = $1 FOR NO KEY UPDATE", rollout_id
    )
    if row is None:
        raise UnknownRolloutError(rollout_id)
    if row["status"] not in allowed:
        raise WrongStateError(f"rollout {rollout_id} is {row['status']}, and cannot be {act}")
    return int(row["current_wave"])


async def _become(
    connection: Connection, rollout_id: UUID, status: RolloutStatus, by: By, action: str
) -> Rollout:
    over = status in OVER
    row = await connection.fetchrow(
        f"""
        UPDATE shared.rollouts
        SET status = $2, note = NULL, finished_at = CASE WHEN $3 THEN now() END,
            failures = CASE WHEN $4 THEN 0 ELSE failures END,
            wave_failures = CASE WHEN $4 THEN 0 ELSE wave_failures END
        WHERE id = $1 RETURNING {rollouts.COLUMNS}
        """,
        rollout_id,
        status,
        over,
        status == "running",
    )
    assert row is not None  # it is locked
    await audit.record(connection, by, action, rollout_id=rollout_id)
    return await rollouts.of(connection, row)
