"""Waves: what the provisioners read and write of a rollout while they carry it out.

A wave is one command, and one provisioner at a time works on it.
"""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from db.control import rollout_tenants, rollouts
from db.control.fleet import TenantFilter
from db.control.rollout_tenants import Choice
from db.ledger.contracts import RolloutHalted, Wave
from db.session.connection import Connection

WAITS: Final = "waiting for a newer provisioner"
"""The note of a rollout of what no running provisioner knows."""

ROLLOUT: Final = "hashtextextended($1::text, 2)"
"""The SQL of a rollout's advisory key; $1 is its id. It is held by the session that carries a wave out."""


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done in each tenant of a wave, and how fast.

    Args:
        baked_at: when the wave may begin; None is at once.
    """

    id: UUID
    target: str | None
    task: str | None
    arguments: dict[str, Any]
    concurrency: int
    rate: int | None
    max_failures: int
    bake_time: float
    filter: TenantFilter
    current_wave: int
    waves: int
    baked_at: datetime | None


_COLUMNS: Final = ", ".join(Work.__struct_fields__)
_OPEN: Final = "status IN ('planned', 'running')"


async def begin(connection: Connection, command: Wave, message_id: UUID) -> bool:
    """Note that a wave is worked on. Return False if the command is not the rollout's last, or it does not run.

    Where it does not, nobody will carry the command out: tenants come back that a process had in hand which is gone.

    Args:
        connection: of the owner, in a transaction.
        command: the command.
        message_id: the command's id.
    """
    status = await connection.execute(
        f"""
        UPDATE shared.rollouts SET status = 'running', started_at = coalesce(started_at, now())
        WHERE id = $1 AND current_wave = $2 AND message_id = $3 AND {_OPEN}
        """,
        command.rollout_id,
        command.wave,
        message_id,
    )
    if status != "UPDATE 0":
        return True
    if await connection.fetchval(f"SELECT pg_try_advisory_xact_lock({ROLLOUT})", str(command.rollout_id)):
        await reclaim(connection, command.rollout_id)
    return False


async def get(connection: Connection, rollout_id: UUID) -> Work:
    """Return the work of a rollout that is there."""
    row: Any = await connection.fetchrow(f"SELECT {_COLUMNS} FROM shared.rollouts WHERE id = $1", rollout_id)
    arguments = msgspec.json.decode(row["arguments"], type=dict[str, Any])
    wanted = msgspec.json.decode(row["filter"], type=TenantFilter)
    return Work(**dict(row) | {"arguments": arguments, "filter": wanted})


async def note(connection: Connection, rollout_id: UUID, text: str | None) -> None:
    """Say why a rollout does not go on; None: it does."""
    await connection.execute(
        "UPDATE shared.rollouts SET note = $2 WHERE id = $1 AND note IS DISTINCT FROM $2", rollout_id, text
    )


async def runs(connection: Connection, rollout_id: UUID) -> bool:
    """Return whether a rollout runs, and is neither paused nor halted nor over."""
    return bool(
        await connection.fetchval("SELECT status = 'running' FROM shared.rollouts WHERE id = $1", rollout_id)
    )


async def hold(connection: Connection, rollout_id: UUID) -> bool:
    """Take a rollout's lock for the session. Return False if another session carries the rollout out."""
    return bool(await connection.fetchval(f"SELECT pg_try_advisory_lock({ROLLOUT})", str(rollout_id)))


async def release(connection: Connection, rollout_id: UUID) -> None:
    """Give back a rollout's lock."""
    await connection.execute(f"SELECT pg_advisory_unlock({ROLLOUT})", str(rollout_id))


async def reclaim(connection: Connection, rollout_id: UUID) -> None:
    """Have tenants wait again that a process had in hand which is gone. The session holds the rollout's lock.

    The attempt counts: a tenant may be what the process, or PostgreSQL, died of.
    """
    await connection.execute(
        """
        UPDATE shared.rollout_tenants SET status = 'waiting' WHERE rollout_id = $1 AND status = 'running'
        """,
        rollout_id,
    )


async def halt(
    connection: Connection, rollout_id: UUID, why: str, *, error_class: str, caused_by: UUID
) -> None:
    """Halt a rollout that runs by this command, until an operator decides.

    Args:
        connection: of the owner, in a transaction.
        rollout_id: the rollout's id.
        why: the rollout's note.
        error_class: of the failure that was one too many.
        caused_by: the id of the wave's command.
    """
    row = await connection.fetchrow(
        f"""
        UPDATE shared.rollouts SET status = 'halted', note = $2
        WHERE id = $1 AND message_id = $3 AND {_OPEN} RETURNING current_wave, failures
        """,
        rollout_id,
        why,
        caused_by,
    )
    if row is not None:
        event = RolloutHalted(rollout_id, row["current_wave"], row["failures"], error_class)
        await rollouts.tell(connection, event, caused_by=caused_by)


async def settle(connection: Connection, work: Work, choice: Choice, *, caused_by: UUID) -> float | None:
    """Go on to the next wave, or finish the rollout. Return the seconds until tenants of this wave can be tried again.

    Args:
        connection: of the owner, in a transaction.
        work: the rollout's.
        choice: which tenants it is for; those that have come to be concerned meanwhile are one more wave.
        caused_by: the id of the wave's command.

    Returns:
        None if the wave is over, or the rollout does not run any more.
    """
    status = await connection.fetchval(
        "SELECT status FROM shared.rollouts WHERE id = $1 AND message_id = $2 FOR NO KEY UPDATE",
        work.id,
        caused_by,
    )
    if status != "running":
        return None
    row = await connection.fetchrow(
        """
        SELECT min(wave) AS wave, extract(epoch FROM min(available_at) FILTER (WHERE wave = $2) - now()) AS wait
        FROM shared.rollout_tenants WHERE rollout_id = $1 AND status IN ('waiting', 'running')
        """,
        work.id,
        work.current_wave,
    )
    assert row is not None  # it is an aggregate
    if row["wait"] is not None:
        return max(float(row["wait"]), 0.0)
    following = row["wave"]
    if following is None and choice.behind is not None:
        added = await rollout_tenants.add_late(connection, work.id, choice, work.waves + 1)
        following = work.waves + 1 if added else None
    if following is None:
        await rollouts.finish(connection, work.id, caused_by=caused_by)
        return None
    await connection.execute(
        """
        UPDATE shared.rollouts SET current_wave = $2, waves = greatest(waves, $2), wave_failures = 0,
          baked_at = now() + make_interval(secs => $3)
        WHERE id = $1
        """,
        work.id,
        following,
        work.bake_time,
    )
    await rollouts.send(connection, work.id, following, caused_by=caused_by)
    return None
