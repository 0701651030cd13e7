"""Tenants in a rollout: which are chosen, in which wave, and how far each of them is."""

from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from db.control import fleet
from db.control.fleet import TenantFilter
from db.errors import InvalidValueError
from db.session.connection import Connection

StepStatus = Literal["waiting", "running", "done", "skipped", "failed"]

_HAS_SCHEMA: Final = """
(status IN ('active', 'suspended') OR (status = 'deleted' AND status_before IN ('active', 'suspended')))
"""
"""Whom a rollout is for. A deleted tenant comes along, since it may be restored."""


class RolloutTenant(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant in a rollout.

    Args:
        wave: the number of its wave, from 0; None if it was where it was to be when the rollout began.
        attempts: how often it was tried.
        error: the last error, if there was one.
    """

    slug: str
    tenant_id: UUID
    wave: int | None
    status: StepStatus
    attempts: int
    error: str | None
    error_class: str | None
    started_at: datetime | None
    finished_at: datetime | None


class Counts(msgspec.Struct, frozen=True):
    """How many tenants of a rollout are in each state."""

    waiting: int = 0
    running: int = 0
    done: int = 0
    skipped: int = 0
    failed: int = 0

    @property
    def due(self) -> int:
        """Those that are not at their end."""
        return self.waiting + self.running


class Choice(msgspec.Struct, frozen=True):
    """Which tenants a rollout is for.

    Args:
        filter: the operator's filter.
        behind: the revisions from which tenants are to be moved; None if a task is to be run in all of them.
    """

    filter: TenantFilter
    behind: tuple[str, ...] | None

    def concerned(self, arguments: list[Any]) -> str:
        """Return the SQL condition for a tenant that the rollout is for. Its values are added to ``arguments``."""
        return " AND ".join([_HAS_SCHEMA, *fleet.conditions(self.filter, arguments)])

    def due(self, arguments: list[Any]) -> str:
        """Return the SQL condition for a tenant that is to be worked on, as `concerned` does."""
        if self.behind is None:
            return "true"
        arguments.append(list(self.behind))
        return f"(revision IS NULL OR revision = ANY(${len(arguments)}::text[]))"


class Waves(msgspec.Struct, frozen=True):
    """How tenants are put into waves.

    Args:
        canary: how many of the first are wave 0, or the slugs of those that are.
        wave: how many are each further wave, or their share, such as ``10%``.
    """

    canary: int | tuple[str, ...]
    wave: int | str

    def size(self, count: int) -> int:
        """Return how many tenants are a wave.

        Args:
            count: how many there are in all.
        """
        if isinstance(self.wave, int):
            return self.wave
        return max(-(-count * int(self.wave.removesuffix("%")) // 100), 1)


_CHOSEN: Final = """
WITH concerned AS (
  SELECT id, slug, ({due}) AS due, slug = ANY (${slugs}::text[]) AS named
  FROM shared.tenants WHERE {concerned}
), placed AS (
  SELECT id, slug, named, row_number() OVER (ORDER BY named DESC, slug) AS place FROM concerned WHERE due
), canaries AS (
  SELECT CASE WHEN ${first}::int IS NULL THEN (SELECT count(*) FROM placed WHERE named) ELSE ${first} END AS count
)
"""


async def count(connection: Connection, choice: Choice) -> tuple[int, int]:
    """Return how many tenants are to be worked on, and how many are where they are to be."""
    arguments: list[Any] = []
    concerned, due = choice.concerned(arguments), choice.due(arguments)
    row = await connection.fetchrow(
        f"SELECT count(*) FILTER (WHERE {due}) AS due, count(*) FILTER (WHERE NOT {due}) AS skipped"
        f" FROM shared.tenants WHERE {concerned}",
        *arguments,
    )
    assert row is not None  # it counts
    return row["due"], row["skipped"]


async def count_by_revision(connection: Connection, choice: Choice) -> dict[str | None, int]:
    """Return how many tenants are to be worked on, by their revisions."""
    arguments: list[Any] = []
    concerned, due = choice.concerned(arguments), choice.due(arguments)
    rows = await connection.fetch(
        f"SELECT revision, count(*) AS count FROM shared.tenants WHERE {concerned} AND {due} GROUP BY revision",
        *arguments,
    )
    return {row["revision"]: row["count"] for row in rows}


async def choose(
    connection: Connection, rollout_id: UUID, choice: Choice, waves: Waves, size: int
) -> tuple[int, int] | None:
    """Write who is in a rollout and in which wave; return the numbers of the first and last wave, or None.

    Args:
        connection: in a transaction.
        rollout_id: the rollout's id.
        choice: which tenants.
        waves: how they are put into waves.
        size: how many tenants are a wave.
    """
    arguments: list[Any] = [rollout_id, size]
    concerned, due = choice.concerned(arguments), choice.due(arguments)
    named = waves.canary if not isinstance(waves.canary, int) else ()
    arguments += [list(named), waves.canary if isinstance(waves.canary, int) else None]
    chosen = _CHOSEN.format(concerned=concerned, due=due, slugs=len(arguments) - 1, first=len(arguments))
    await connection.execute(
        f"""
        {chosen}
        INSERT INTO shared.rollout_tenants (rollout_id, tenant_id, wave, status)
        SELECT $1::uuid, id, CASE WHEN place <= count THEN 0 ELSE 1 + (place - count - 1) / $2::int END, 'waiting'
        FROM placed, canaries
        UNION ALL SELECT $1::uuid, id, NULL, 'skipped' FROM concerned WHERE NOT due
        """,
        *arguments,
    )
    row = await connection.fetchrow(
        "SELECT min(wave) AS first, max(wave) AS last FROM shared.rollout_tenants"
        " WHERE rollout_id = $1 AND status = 'waiting'",
        rollout_id,
    )
    assert row is not None  # it is an aggregate
    return None if row["first"] is None else (row["first"], row["last"])


async def add_late(connection: Connection, rollout_id: UUID, choice: Choice, wave: int) -> int:
    """Add tenants that have come to be concerned since the rollout began, as another wave; return how many."""
    arguments: list[Any] = [rollout_id, wave]
    concerned, due = choice.concerned(arguments), choice.due(arguments)
    status = await connection.execute(
        f"""
        INSERT INTO shared.rollout_tenants (rollout_id, tenant_id, wave, status)
        SELECT $1, id, $2, 'waiting' FROM shared.tenants t
        WHERE {concerned} AND {due}
          AND NOT EXISTS (SELECT FROM shared.rollout_tenants r WHERE r.rollout_id = $1 AND r.tenant_id = t.id)
        """,
        *arguments,
    )
    return int(status.split()[-1])


async def counts(connection: Connection, rollout_id: UUID) -> Counts:
    """Return how many tenants of a rollout are in each state."""
    rows = await connection.fetch(
        "SELECT status, count(*) AS count FROM shared.rollout_tenants WHERE rollout_id = $1 GROUP BY status",
        rollout_id,
    )
    return Counts(**{row["status"]: row["count"] for row in rows})


async def list_(
    connection: Connection,
    rollout_id: UUID,
    *,
    status: StepStatus | None = None,
    limit: int | None = None,
    after: tuple[str, UUID] | None = None,
) -> list[RolloutTenant]:
    """Return tenants of a rollout, in the order of their slugs.

    Args:
        connection: of a login that may read rollouts.
        rollout_id: the rollout's id.
        status: only those in this state.
        limit: most tenants to return; all by default.
        after: slug and id of a tenant; return only tenants that follow it.
    """
    slug, last = after or (None, None)
    rows = await connection.fetch(
        """
        SELECT t.slug, r.tenant_id, r.wave, r.status, r.attempts, r.error, r.error_class, r.started_at, r.finished_at
        FROM shared.rollout_tenants r JOIN shared.tenants t ON t.id = r.tenant_id
        WHERE r.rollout_id = $1 AND r.status = coalesce($2, r.status)
          AND ($3::text IS NULL OR (t.slug, t.id) > ($3, $4::uuid))
        ORDER BY t.slug, t.id LIMIT $5
        """,
        rollout_id,
        status,
        slug,
        last,
        limit,
    )
    return [RolloutTenant(**dict(row)) for row in rows]


async def check_canary(connection: Connection, choice: Choice, waves: Waves) -> int:
    """Check that the canaries that are named are tenants that a rollout is for; return how many are to be worked on.

    Raises:
        InvalidValueError: some are not.
    """
    if isinstance(waves.canary, int):
        return waves.canary
    arguments: list[Any] = []
    concerned, due = choice.concerned(arguments), choice.due(arguments)
    arguments.append(list(waves.canary))
    rows = await connection.fetch(
        f"SELECT slug, ({due}) AS due FROM shared.tenants"
        f" WHERE {concerned} AND slug = ANY(${len(arguments)}::text[])",
        *arguments,
    )
    unknown = sorted(set(waves.canary) - {row["slug"] for row in rows})
    if unknown:
        raise InvalidValueError("canary", f"the rollout is not for {', '.join(unknown)}")
    return sum(row["due"] for row in rows)
