"""Orders: what an operator wants rolled out, to whom and how, checked."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from db.control.fleet import TenantFilter
from db.control.rollout_tenants import Choice, Waves
from db.control.tasks import TASKS
from db.errors import InvalidValueError
from db.migrations.lineage import Lineage

SHARE: Final = r"\A([1-9][0-9]?|100)%\Z"
"""A regular expression for the share of tenants that a wave is."""
MOST: Final = 1_000_000
"""Tenants of a canary, a wave, or that may fail, at most."""
LONGEST_BAKE: Final = 86_400.0
"""Seconds between two waves, at most."""
WaveSize = Annotated[int, Meta(ge=1, le=MOST)] | Annotated[str, Meta(pattern=SHARE)]
"""How many tenants a wave is, or their share."""
CANARY: Final = 1
"""How many tenants are tried first, by default."""
WAVE: Final = "10%"
"""How many tenants each further wave is, by default."""
CONCURRENCY: Final = 2
"""How many tenants are worked on at once, by default."""
_ALL: Final = TenantFilter()


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator orders.

    Args:
        target: the revision to bring tenants to, or None.
        task: the name of the task to run in them, or None.
        arguments: the task's.
        choice: which tenants.
        waves: how they are put into waves.
        concurrency: how many are worked on at once.
        rate: most tenants a second; None is as fast as it goes.
        max_failures: how many may fail before the rollout halts.
        bake_time: seconds between two waves.
    """

    target: str | None = None
    task: str | None = None
    arguments: dict[str, Any] = {}
    choice: Choice
    waves: Waves
    concurrency: int
    rate: int | None
    max_failures: int
    bake_time: float


def choice(lineage: Lineage, target: str | None, filter_: TenantFilter) -> Choice:
    """Return which tenants are to be brought to a revision, or are to run a task if there is none."""
    if target is None:
        return Choice(filter_, None)
    behind = (each.revision for each in lineage.revisions if target not in lineage.applied(each.revision))
    return Choice(filter_, tuple(behind))


def order(
    lineage: Lineage,
    *,
    target: str | None = None,
    task: str | None = None,
    arguments: dict[str, Any] | None = None,
    canary: int | Sequence[str] = CANARY,
    wave: int | str = WAVE,
    concurrency: int = CONCURRENCY,
    rate: int | None = None,
    max_failures: int = 0,
    bake_time: float = 0.0,
    filter_: TenantFilter = _ALL,
) -> Order:
    """Return what an operator orders, checked.

    Args:
        lineage: the tenants' lineage.
        target: ``head``, a revision or the beginning of one; None if it is a task.
        task: the name of one of the domain's tasks; None if it is a revision.
        arguments: the task's.
        canary: how many of the first are wave 0, or which.
        wave: how many each further wave is, or their share, such as ``10%``.
        concurrency: how many are worked on at once.
        rate: most tenants a second; None is as fast as it goes.
        max_failures: how many may fail before the rollout halts.
        bake_time: seconds between two waves.
        filter_: which tenants.

    Raises:
        InvalidValueError: there is no such revision or task, or not exactly one of the two was given.
    """
    if (target is None) == (task is None):
        raise InvalidValueError("target", "name a revision or a task, one of the two")
    if task is not None and task not in TASKS:
        raise InvalidValueError("task", f"there is no task {task!r}; there are: {', '.join(TASKS) or 'none'}")
    if task is None and arguments:
        raise InvalidValueError("arguments", "these are a task's")
    if b"\\u0000" in msgspec.json.encode(arguments):
        raise InvalidValueError("arguments", "NUL cannot be stored")
    if not 0 <= bake_time <= LONGEST_BAKE:  # nor is it no number
        raise InvalidValueError("bake_time", f"from 0 to {LONGEST_BAKE:g} seconds")
    if isinstance(canary, int) and canary > MOST:
        raise InvalidValueError("canary", f"{MOST:,} at most")
    revision = None if target is None else lineage.resolve(target)
    return Order(
        target=revision,
        task=task,
        arguments=arguments or {},
        choice=choice(lineage, revision, filter_),
        waves=Waves(canary if isinstance(canary, int) else tuple(dict.fromkeys(canary)), wave),
        concurrency=concurrency,
        rate=rate,
        max_failures=max_failures,
        bake_time=bake_time,
    )
