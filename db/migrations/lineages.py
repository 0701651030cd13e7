"""Loading of lineages: each is read, checked and rendered once in a process, before anything runs."""

import inspect
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from alembic.script import Script

from db import domain
from db.migrations.lineage import Lineage, LineageError, LineageName
from db.migrations.render import RenderError, downgrade_statements, is_idempotent, is_online, render

ID_LENGTH: Final = 32
"""Most characters of a revision's id: the width of ``alembic_version.version_num``."""

_MEANINGS: Final = frozenset({"base", "current", "head", "heads"})
_NOT_RUN: Final = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)


@cache
def lineage(name: LineageName, config: Path) -> Lineage:
    """Return a lineage that has passed all checks. It is read once in each process.

    Args:
        name: the lineage's name.
        config: Alembic's configuration file.

    Raises:
        LineageError: a revision is not what this release can run the same way on every path.
    """
    found = Lineage(name, config)
    check(found)
    if name == "tenant" and not found.knows(domain.OLDEST_SERVED):
        raise LineageError(
            f"OLDEST_SERVED in db/domain.py is {domain.OLDEST_SERVED!r}: the tenant lineage has no such revision"
        )
    return found


def check(lineage: Lineage) -> None:
    """Check each revision's declarations, and that its upgrade and downgrade can be rendered.

    Raises:
        LineageError: the first fault, with the revision and the reason.
    """
    for script in lineage.revisions:
        fault = _fault(lineage, script)
        if fault:
            raise LineageError(f"revision {script.revision} ({lineage.name} lineage): {fault}")
    _check_rendering(lineage)


def _fault(lineage: Lineage, script: Script) -> str | None:
    """Return what is wrong with a revision's declarations, or None."""
    module: Any = script.module
    fault = _id_fault(script.revision)
    if fault:
        return fault
    for name in ("upgrade", "downgrade"):
        if not callable(getattr(module, name, None)):
            return f"there is no {name}()" + (
                ": write one, or let it raise NotImplementedError" if name == "downgrade" else ""
            )
    for name in ("upgrade", "downgrade", "upgrade_empty"):
        if any(sort(getattr(module, name, None)) for sort in _NOT_RUN):
            return f"{name}() is async or has a yield: calling it does nothing, so write a plain function"
    oldest = getattr(module, "compatible_from", None)
    if not isinstance(oldest, str):
        return f"compatible_from is {oldest!r}: name one revision, the oldest whose code still works"
    if oldest not in lineage.applied(script.revision):
        return f"compatible_from is {oldest!r}: neither the revision itself nor one before it"
    return _online_fault(lineage, script)


def _id_fault(revision: str) -> str | None:
    if len(revision) > ID_LENGTH or (not revision.isidentifier() and not revision.isalnum()):
        return f"the id must be letters, digits and underscores, {ID_LENGTH} at most"
    if revision.casefold() in _MEANINGS:
        return f"the id means something else to the alembic command, as do {', '.join(sorted(_MEANINGS))}"
    return None


def _online_fault(lineage: Lineage, script: Script) -> str | None:
    module: Any = script.module
    for name in ("online", "idempotent"):
        if not isinstance(getattr(module, name, False), bool):
            return f"{name} must be True or False"
    if not is_online(module):
        if hasattr(module, "upgrade_empty"):
            return "it has an upgrade_empty(), but not online = True"
        return "idempotent = True is for revisions with online = True" if is_idempotent(module) else None
    if not callable(getattr(module, "upgrade_empty", None)):
        return "online = True needs an upgrade_empty(), which does the same for a schema without data"
    if not lineage.is_alone(script.revision):
        return "online = True on a branch: rebase it, so that no other revision stands beside it"
    return None


def _check_rendering(lineage: Lineage) -> None:
    """Render all revisions, up and down.

    Raises:
        LineageError: a revision cannot be rendered, or not twice the same way.
    """
    try:
        first, second = (render.__wrapped__(lineage, None, lineage.head).statements for _ in range(2))
        for script in lineage.revisions:
            if not is_online(script.module):
                first += downgrade_statements(lineage, script)
                second += downgrade_statements(lineage, script)
    except RenderError as error:
        raise LineageError(str(error)) from error
    for one, other in zip_longest(first, second):
        if one != other:
            raise LineageError(
                f"revision {(one or other).revision} ({lineage.name} lineage): it says something else each time "
                "it is rendered, so tenants would differ; let PostgreSQL make times and random values (now(), "
                "gen_random_uuid()), or write them down"
            )


def not_idempotent(lineage: Lineage) -> list[str]:
    """Return the online revisions that cannot be run again after a failure: that parks their commands."""
    return [
        script.revision
        for script in lineage.revisions
        if is_online(script.module) and not is_idempotent(script.module)
    ]
