"""Rollouts: a revision or a task on its way through the fleet, in waves, of which the first is the canary.

The provisioners carry a rollout out, one ``rollout.wave`` command a wave. All of its state is in PostgreSQL, so any
process may die at any moment. One rollout is open at a time.
"""

from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from asyncpg import Record

from db.control import rollout_tenants
from db.control.fleet import TenantFilter
from db.control.rollout_tenants import Counts
from db.errors import TenantryError
from db.ledger import envelope, outbox
from db.ledger.contracts import Event, RolloutFinished, Wave
from db.session.connection import Connection

RolloutStatus = Literal["planned", "running", "paused", "halted", "finished", "aborted"]
MOST_AT_ONCE: Final = 16
"""Tenants that a rollout works on at once, at most; each takes a connection or two."""
OVER: Final = frozenset[RolloutStatus]({"finished", "aborted"})
"""States in which a rollout keeps no other from beginning."""


class UnknownRolloutError(TenantryError):
    """There is no rollout with this id."""

    kind = "not-found"

    def __init__(self, rollout_id: UUID) -> None:
        super().__init__(f"no rollout {rollout_id}")


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout and its progress.

    Args:
        current_wave: the wave that it is at; the canary is 0.
        waves: the number of the last wave.
        failures: tenants that have failed since it began, or was last resumed or retried.
        note: why it does not go on, if it does not.
        tenants: how many tenants are in each state.
    """

    id: UUID
    status: RolloutStatus
    target: str | None
    task: str | None
    arguments: dict[str, Any]
    canary: int | list[str]
    wave: int | str
    concurrency: int
    rate: int | None
    max_failures: int
    bake_time: float
    filter: TenantFilter
    reason: str
    actor: str
    current_wave: int
    waves: int
    failures: int
    note: str | None
    tenants: Counts
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


_JSON: Final = {
    "arguments": dict[str, Any],
    "canary": int | list[str],
    "wave": int | str,
    "filter": TenantFilter,
}
COLUMNS: Final = ", ".join(name for name in Rollout.__struct_fields__ if name != "tenants")


async def of(connection: Connection, row: Record) -> Rollout:
    decoded = {name: msgspec.json.decode(row[name], type=type_) for name, type_ in _JSON.items()}
    found = await rollout_tenants.counts(connection, row["id"])
    return Rollout(**dict(row) | decoded, tenants=found)


async def tell(connection: Connection, event: Event, *, caused_by: UUID | None = None) -> None:
    """Write an event of a rollout to the ledger, in the caller's transaction."""
    await outbox.append(connection, [envelope.message(event, caused_by=caused_by)])


async def send(connection: Connection, rollout_id: UUID, wave: int, *, caused_by: UUID | None = None) -> None:
    """Write the command to carry out a wave. Earlier commands of the rollout mean nothing from now on."""
    command = envelope.message(Wave(rollout_id, wave), caused_by=caused_by)
    await outbox.append(connection, [command])
    await connection.execute(
        "UPDATE shared.rollouts SET message_id = $2 WHERE id = $1", rollout_id, command.id
    )


async def finish(connection: Connection, rollout_id: UUID, *, caused_by: UUID | None = None) -> Rollout:
    """Write that a rollout has come to its end, and return it.

    Args:
        connection: in a transaction that has locked the rollout.
        rollout_id: the rollout's id.
        caused_by: the id of the command of the last wave.
    """
    row = await connection.fetchrow(
        f"""
        UPDATE shared.rollouts SET status = 'finished', note = NULL, finished_at = now()
        WHERE id = $1 RETURNING {COLUMNS}
        """,
        rollout_id,
    )
    assert row is not None  # it is locked
    found = await of(connection, row)
    ended = found.tenants
    event = RolloutFinished(rollout_id, ended.done, ended.skipped, ended.failed)
    await tell(connection, event, caused_by=caused_by)
    return found


async def get(connection: Connection, rollout_id: UUID) -> Rollout:
    """Return the rollout with this id.

    Raises:
        UnknownRolloutError: there is none.
    """
    row = await connection.fetchrow(f"SELECT {COLUMNS} FROM shared.rollouts WHERE id = $1", rollout_id)
    if row is None:
        raise UnknownRolloutError(rollout_id)
    return await of(connection, row)


async def list_(
    connection: Connection, *, status: RolloutStatus | None = None, limit: int, before: UUID | None = None
) -> list[Rollout]:
    """Return rollouts, newest first.

    Args:
        connection: of a login that may read rollouts.
        status: only those in this state.
        limit: most rollouts to return.
        before: return only those that began before the one with this id.
    """
    rows = await connection.fetch(
        f"""
        SELECT {COLUMNS} FROM shared.rollouts
        WHERE status = coalesce($1, status) AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
        """,
        status,
        before,
        limit,
    )
    return [await of(connection, row) for row in rows]


async def strand(connection: Connection, message_id: UUID) -> None:
    """Halt the rollout whose wave a command was to carry out, as nobody will; `resume` writes another command.

    Args:
        connection: in the transaction that archives the command.
        message_id: the command's id.
    """
    await connection.execute(
        """
        UPDATE shared.rollouts SET status = 'halted', note = 'the command of its wave was archived'
        WHERE message_id = $1 AND status IN ('planned', 'running')
        """,
        message_id,
    )


async def sweep(connection: Connection, *, days: int) -> None:
    """Delete the rollouts that have been over for longer than the retention time, with their tenants' rows.

    Args:
        connection: of the owner.
        days: the retention time, in days.
    """
    await connection.execute(
        """
        WITH gone AS (
          DELETE FROM shared.rollouts
          WHERE status IN ('finished', 'aborted') AND finished_at < now() - make_interval(days => $1) RETURNING id)
        DELETE FROM shared.rollout_tenants WHERE rollout_id IN (SELECT id FROM gone)
        """,
        days,
    )
