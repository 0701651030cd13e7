"""A tenant's step in a wave: it is claimed, and comes to its end in the transaction that works on it, or fails."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from db.control import waves
from db.control.rollout_tenants import StepStatus
from db.control.waves import Work
from db.ledger.inbox import Failure
from db.session.connection import Connection
from db.tenants import registry
from db.tenants.registry import COLUMNS, Tenant


class Claimed(msgspec.Struct, frozen=True):
    """A tenant to work on.

    Args:
        tenant: the tenant as it was when it was claimed, which is not locked.
        attempts: how often it was tried, this time included.
        error_class: of the attempt before.
    """

    tenant: Tenant
    attempts: int
    error_class: str | None


async def claim(connection: Connection, work: Work, *, after: UUID | None, limit: int) -> list[Claimed]:
    """Take tenants of the wave that wait; none if there are none now, or the rollout does not run any more.

    Args:
        connection: of the owner.
        work: the rollout's.
        after: take only tenants that follow this one, whose ids are greater. To look through all that are done would
            take longer with each tenant.
        limit: most tenants to take.
    """
    # By an array, as a join may be planned so that each tenant of the rollout looks for those that are next: PostgreSQL
    # knows nothing of a rollout that has just begun.
    rows = await connection.fetch(
        f"""
        WITH next AS MATERIALIZED (
          SELECT tenant_id FROM shared.rollout_tenants
          WHERE rollout_id = $1 AND wave = $2 AND status = 'waiting' AND available_at <= now()
            AND tenant_id > $3
            AND EXISTS (SELECT FROM shared.rollouts WHERE id = $1 AND status = 'running')
          ORDER BY tenant_id LIMIT $4 FOR UPDATE SKIP LOCKED
        ), claimed AS (
          UPDATE shared.rollout_tenants
          SET status = 'running', attempts = attempts + 1, started_at = clock_timestamp(), finished_at = NULL
          WHERE rollout_id = $1 AND tenant_id = ANY (ARRAY (SELECT tenant_id FROM next))
          RETURNING tenant_id, attempts, error_class)
        SELECT {COLUMNS}, attempts, error_class
        FROM claimed JOIN shared.tenants ON id = tenant_id ORDER BY id
        """,
        work.id,
        work.current_wave,
        after or registry.NOBODY,
        limit,
    )
    return [Claimed(Tenant.of(row), row["attempts"], row["error_class"]) for row in rows]


async def leave(connection: Connection, rollout_id: UUID, tenant_ids: Sequence[UUID]) -> None:
    """Give back tenants that were claimed, and not begun."""
    await connection.execute(
        """
        UPDATE shared.rollout_tenants SET status = 'waiting', attempts = attempts - 1
        WHERE rollout_id = $1 AND tenant_id = ANY($2) AND status = 'running'
        """,
        rollout_id,
        tenant_ids,
    )


async def is_open(connection: Connection, rollout_id: UUID, tenant_id: UUID) -> bool:
    """Return whether a tenant has not come to its end meanwhile. The caller holds the tenant's lock."""
    return bool(
        await connection.fetchval(
            "SELECT true FROM shared.rollout_tenants"
            " WHERE rollout_id = $1 AND tenant_id = $2 AND status IN ('waiting', 'running')",
            rollout_id,
            tenant_id,
        )
    )


END: Final = """
UPDATE shared.rollout_tenants SET status = $3, finished_at = clock_timestamp(), error = NULL, error_class = NULL
WHERE rollout_id = $1 AND tenant_id = $2
"""
"""The statement by which a tenant comes to its end; $3 is ``done`` or ``skipped``."""


async def end(connection: Connection, rollout_id: UUID, tenant_id: UUID, status: StepStatus) -> None:
    """Write that a tenant has come to its end, in the transaction that brought it there."""
    await connection.execute(END, rollout_id, tenant_id, status)


async def give_back(
    connection: Connection, rollout_id: UUID, tenant_id: UUID, *, delay: float, failure: Failure | None
) -> None:
    """Have a tenant claimed again later.

    Args:
        connection: of the owner.
        rollout_id: the rollout's id.
        tenant_id: the tenant's id.
        delay: seconds until then.
        failure: why; None if it was not its turn, which is no attempt.
    """
    await connection.execute(
        """
        UPDATE shared.rollout_tenants
        SET status = 'waiting', available_at = clock_timestamp() + make_interval(secs => $3),
            attempts = attempts - CASE WHEN $4::text IS NULL THEN 1 ELSE 0 END,
            error_class = coalesce($4, error_class), error = coalesce($5, error)
        WHERE rollout_id = $1 AND tenant_id = $2 AND status = 'running'
        """,
        rollout_id,
        tenant_id,
        delay,
        failure and failure.error_class,
        failure and failure.error,
    )


async def keep(connection: Connection, rollout_id: UUID, tenant_id: UUID, failure: Failure | None) -> None:
    """Keep with a tenant what its failure is if its attempt is cut short; None takes it back."""
    await connection.execute(
        "UPDATE shared.rollout_tenants SET error_class = $3, error = $4 WHERE rollout_id = $1 AND tenant_id = $2",
        rollout_id,
        tenant_id,
        failure and failure.error_class,
        failure and failure.error,
    )


async def fail(
    connection: Connection, work: Work, tenant_id: UUID, failure: Failure, *, caused_by: UUID
) -> bool:
    """Write that a tenant has failed, and halt the rollout if that is one too many. Return whether it goes on.

    It halts where more have failed than ``max_failures``, or more than a tenth of the wave.

    Args:
        connection: of the owner, in a transaction.
        work: the rollout's.
        tenant_id: the tenant's id.
        failure: why.
        caused_by: the id of the wave's command.
    """
    failed = await connection.execute(
        """
        UPDATE shared.rollout_tenants
        SET status = 'failed', finished_at = clock_timestamp(), error_class = $3, error = $4
        WHERE rollout_id = $1 AND tenant_id = $2 AND status IN ('waiting', 'running')
        """,
        work.id,
        tenant_id,
        failure.error_class,
        failure.error,
    )
    if failed == "UPDATE 0":  # its transaction did commit, though the answer was lost
        return True
    size = await connection.fetchval(
        "SELECT count(*) FROM shared.rollout_tenants WHERE rollout_id = $1 AND wave = $2",
        work.id,
        work.current_wave,
    )
    row = await connection.fetchrow(
        """
        UPDATE shared.rollouts SET failures = failures + 1, wave_failures = wave_failures + 1
        WHERE id = $1 RETURNING status, failures, wave_failures
        """,
        work.id,
    )
    assert row is not None  # rollouts are never deleted
    if row["status"] != "running":
        return False
    if row["failures"] > work.max_failures:
        why = f"{row['failures']} failed, and at most {work.max_failures} may"
    elif row["wave_failures"] * 10 > size:
        why = f"{row['wave_failures']} of a wave of {size} failed, which is more than a tenth"
    else:
        return True
    await waves.halt(connection, work.id, why, error_class=failure.error_class, caused_by=caused_by)
    return False
