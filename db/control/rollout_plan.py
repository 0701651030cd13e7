"""The plan of a rollout: whom it would concern, in which waves, by which statements, and about how long it takes."""

from typing import Final

import msgspec

from db.control import rollout_tenants
from db.control.rollout_orders import Order
from db.control.rollout_tenants import Waves
from db.migrations import lock_levels, plan
from db.migrations.lexer import statements
from db.migrations.lineage import Lineage
from db.migrations.plan import script_of
from db.session.connection import Connection

_VERSION: Final = "alembic_version"


class Planned(msgspec.Struct, frozen=True):
    """A statement, and the strongest lock that it takes on a table that was there before."""

    sql: str
    lock: str


class Step(msgspec.Struct, frozen=True):
    """What tenants at one revision go through.

    Args:
        revision_from: their revision; None is before the first.
        tenants: how many they are.
        online: revisions that Alembic runs online, whose statements depend on the rows.
        statements: the statements of all others.
    """

    revision_from: str | None
    tenants: int
    online: list[str]
    statements: list[Planned]


class RolloutPlan(msgspec.Struct, frozen=True):
    """What a rollout would do. Nothing was changed.

    Args:
        target: the revision; null for a task.
        task: the task; null for a revision.
        tenants: how many would be worked on.
        skipped: how many are where they are to be.
        waves: how many tenants are each wave, the canary first.
        steps: what is done, by the revision that tenants are at.
        sql: all statements as one text.
        locks: the strongest lock of all statements.
        seconds: how long it would take, by what earlier rollouts took a tenant; null if there was none.
    """

    target: str | None
    task: str | None
    tenants: int
    skipped: int
    waves: list[int]
    steps: list[Step]
    sql: str
    locks: str
    seconds: float | None


async def make(connection: Connection, lineage: Lineage, order: Order) -> RolloutPlan:
    """Return the plan of a rollout.

    Args:
        connection: of a login that may read the registry.
        lineage: the tenants' lineage.
        order: what would be ordered.

    Raises:
        InvalidValueError: a canary is no tenant that the rollout is for.
    """
    first = await rollout_tenants.check_canary(connection, order.choice, order.waves)
    due, skipped = await rollout_tenants.count(connection, order.choice)
    waves = _sizes(order.waves, due, first)
    steps = []
    if order.target is not None:
        by_revision = await rollout_tenants.count_by_revision(connection, order.choice)
        steps = [_step(lineage, at, order.target, count) for at, count in by_revision.items()]
    planned = [each for step in steps for each in step.statements]
    return RolloutPlan(
        target=order.target,
        task=order.task,
        tenants=due,
        skipped=skipped,
        waves=waves,
        steps=steps,
        sql=";\n".join(dict.fromkeys(each.sql for each in planned)),
        locks=lock_levels.strongest([each.lock for each in planned]),
        seconds=_seconds(order, due, len(waves), await _seconds_each(connection, order)),
    )


def _sizes(waves: Waves, count: int, first: int) -> list[int]:
    first, size = min(first, count), waves.size(count)
    whole, rest = divmod(count - first, size)
    return [each for each in (first, *[size] * whole, rest) if each]


def _step(lineage: Lineage, at: str | None, target: str, count: int) -> Step:
    online: list[str] = []
    found: list[Planned] = []
    if at is None or at in lineage.applied(target):  # else it is on another branch, and will fail
        for leg in plan.legs(lineage, "upgrade", at, target):
            if leg.online:
                online += [end for _, end in leg.stops if end is not None]
                continue
            for stop in leg.stops:
                for rendered in script_of(lineage, stop, "upgrade").statements:
                    found += _planned(rendered.sql)
    return Step(at, count, online, found)


def _planned(sql: str) -> list[Planned]:
    each = [[token.text for token in tokens] for tokens in statements(sql)]
    levels = [
        lock_levels.level(words)
        for words in each
        if _VERSION not in words and words[:2] != ["SET", "CONSTRAINTS"]
    ]
    if not levels or (len(each) == 1 and each[0][0].upper() == "DO" and "SET CONSTRAINTS" in sql):
        return []  # what Alembic keeps for itself
    return [Planned(sql.strip().rstrip(";"), lock_levels.strongest(levels))]


async def _seconds_each(connection: Connection, order: Order) -> float | None:
    """Return what a tenant took on the average when the same was rolled out, or else anything of the kind."""
    value = await connection.fetchval(
        """
        SELECT extract(epoch FROM avg(r.finished_at - r.started_at)) FROM shared.rollout_tenants r
        JOIN shared.rollouts o ON o.id = r.rollout_id
        WHERE r.status = 'done' AND (o.task IS NULL) = ($2::text IS NULL)
        GROUP BY o.target IS NOT DISTINCT FROM $1 AND o.task IS NOT DISTINCT FROM $2
        ORDER BY bool_or(o.target IS NOT DISTINCT FROM $1 AND o.task IS NOT DISTINCT FROM $2) DESC LIMIT 1
        """,
        order.target,
        order.task,
    )
    return None if value is None else float(value)


def _seconds(order: Order, count: int, waves: int, each: float | None) -> float | None:
    if each is None:
        return None
    working = count * each / order.concurrency
    if order.rate is not None:
        working = max(working, count / order.rate)
    return round(working + order.bake_time * max(waves - 1, 0), 3)
