"""Plans: which schemas an upgrade or downgrade moves, from which revision to which.

The destination is resolved once, so that all tenants go to the same revision, and none is taken further back
because it has lagged behind.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec
from alembic.script import Script
from alembic.util import CommandError

from db.migrations.lexer import statements
from db.migrations.lineage import Lineage, UnknownRevisionError
from db.migrations.render import Rendered, downgrade_statements, is_online, render, render_down

Direction = Literal["upgrade", "downgrade"]

_RELATIVE: Final = re.compile(r"(?P<from>.*?)(?P<steps>[+-]\d+)")
_SHOWN: Final = 10
"""Most tenants that a plan names for each revision."""


Stop = tuple[str | None, str | None]
"""Two revisions at which a whole schema can be, one after the other; None is before the first."""


class Leg(msgspec.Struct, frozen=True):
    """A part of a move: revisions that run as scripts in one transaction, or one revision that runs online.

    Args:
        stops: where the leg leads, stop by stop.
        online: whether the leg is a revision that runs online.
    """

    stops: tuple[Stop, ...]
    online: bool


def resolve(lineage: Lineage, text: str, current: Iterable[str | None]) -> str | None:
    """Return the revision that a command's destination means, or None for before the first.

    Args:
        lineage: the lineage of the revisions.
        text: ``head``, ``base``, a revision's id or its beginning, or a number of steps (``-1``, ``+2``,
            ``abc-1``). Steps without a revision count from the newest of ``current``.
        current: the revisions of the schemas.

    Raises:
        CommandError: ``text`` names no revision, or a step leads past the ends or into a branch.
    """
    if not text.strip():  # a variable of the shell that is not set
        raise CommandError("the revision to go to is empty")
    found = _RELATIVE.fullmatch(text)
    if found is None:
        return _named(lineage, text)
    start = _named(lineage, found["from"]) if found["from"] else _newest(lineage, current)
    return _step(lineage, start, int(found["steps"]), text)


def _named(lineage: Lineage, text: str) -> str | None:
    if text == "base":
        return None
    try:
        return lineage.resolve("head" if text == "heads" else text)
    except UnknownRevisionError as error:
        raise CommandError(str(error)) from error


def _newest(lineage: Lineage, current: Iterable[str | None]) -> str | None:
    known = [revision for revision in current if revision is not None]
    for revision in known:
        if not lineage.knows(revision):
            raise CommandError(
                f"a tenant is at {revision}, which this release does not know: name the revision to go to"
            )
    return lineage.newest(known)


def _step(lineage: Lineage, start: str | None, steps: int, text: str) -> str | None:
    """Return the revision so many steps from ``start``, each step one revision."""
    order: list[str | None] = [None, *(script.revision for script in lineage.revisions)]
    at = order.index(start) + steps
    if not 0 <= at < len(order):
        raise CommandError(f"{text}: there are not so many revisions")
    passed = order[min(at, at - steps) : max(at, at - steps) + 1]
    if any(revision is not None and not lineage.is_alone(revision) for revision in passed):
        raise CommandError(f"{text}: there are branches between; name the revision to go to")
    return order[at]


def moves(lineage: Lineage, direction: Direction, current: str | None, destination: str | None) -> bool:
    """Return whether a schema has to move: up if it lacks the destination, down if it has more.

    Raises:
        CommandError: this release does not know the schema's revision, or no way leads to the destination.
    """
    if current is not None and not lineage.knows(current):
        raise CommandError(f"it is at {current}, which this release does not know")
    have, wanted = lineage.applied(current), lineage.applied(destination)
    if not (have <= wanted or wanted <= have):
        raise CommandError(f"it is at {current}, on another branch than {destination}")
    return have < wanted if direction == "upgrade" else wanted < have


def check_planned(lineage: Lineage, direction: Direction, current: str | None, planned: str | None) -> None:
    """Check that a schema, which is locked now, has no more revisions to take back than the plan has shown.

    Raises:
        CommandError: it was upgraded since.
    """
    if direction == "upgrade" or current is None or not lineage.knows(current):
        return
    if not lineage.applied(current) <= lineage.applied(planned):
        raise CommandError(f"it is at {current} now, and was planned from {planned or 'base'}: plan again")


def legs(
    lineage: Lineage, direction: Direction, current: str | None, destination: str | None
) -> Iterator[Leg]:
    """Yield the legs of a move in their order."""
    if direction == "upgrade" and current is None:  # an empty schema: all revisions render
        yield Leg(((None, destination),), online=False)
        return
    path = _path(lineage, direction, current, destination)
    have, at = set(lineage.applied(current)), current
    stops: list[Stop] = []
    for script in path:
        have ^= {script.revision}
        reached = lineage.newest(have)
        if is_online(script.module):
            if stops:
                yield Leg(tuple(stops), online=False)
                stops = []
            yield Leg(((at, reached),), online=True)
            at = reached
        elif lineage.applied(reached) == have:  # else it is between two branches
            stops.append((at, reached))
            at = reached
    if stops:
        yield Leg(tuple(stops), online=False)


def _path(
    lineage: Lineage, direction: Direction, current: str | None, destination: str | None
) -> tuple[Script, ...]:
    if direction == "upgrade":
        assert destination is not None  # `base` is no destination of an upgrade
        return lineage.path(current, destination)
    assert current is not None  # there is nothing to take back
    return lineage.path_down(current, destination)


def script_of(lineage: Lineage, stop: Stop, direction: Direction) -> Rendered:
    """Return the script from one stop to the next.

    Raises:
        RenderError: a revision cannot be rendered, or not taken back.
    """
    before, after = stop
    if direction == "upgrade":
        assert after is not None
        return render(lineage, before, after)
    assert before is not None
    return render_down(lineage, before, after)


def check_way(lineage: Lineage, destination: str | None, current: Iterable[str | None]) -> None:
    """Check, before any schema is moved, that a downgrade can be made from each of the schemas' revisions.

    Raises:
        RenderError: a revision on the way cannot be taken back.
    """
    for revision in {each for each in current if each is not None and lineage.knows(each)}:
        if lineage.applied(destination) < lineage.applied(revision):
            for leg in legs(lineage, "downgrade", revision, destination):
                for stop in () if leg.online else leg.stops:
                    script_of(lineage, stop, "downgrade")


def describe(lineage: Lineage, destination: str | None, current: Mapping[str, str | None]) -> str:
    """Return a downgrade's plan for people: who moves, what is taken back, and what is dropped.

    Args:
        lineage: the lineage of the revisions.
        destination: where the schemas go.
        current: each schema's revision by its label.
    """
    lines = [f"downgrade to {destination or 'base'}:"]
    by_revision: dict[str | None, list[str]] = {}
    for label, revision in current.items():
        by_revision.setdefault(revision, []).append(label)
    goes: list[str | None] = []
    stays: list[str | None] = []
    fails: list[str] = []
    for revision, labels in by_revision.items():
        try:
            (goes if moves(lineage, "downgrade", revision, destination) else stays).append(revision)
        except CommandError as error:
            fails += [f"  will fail: {_listed(labels)}: {error}"]
    lines += [
        f"  from {revision}: {_listed(by_revision[revision])}"
        for revision in sorted(filter(None, goes), key=lineage.position, reverse=True)
    ]
    if stays:
        left = [label for revision in stays for label in by_revision[revision]]
        lines.append(f"  not moved, since at {destination or 'base'} or below: {_listed(left)}")
    lines += fails
    taken = frozenset[str]().union(*(lineage.applied(revision) for revision in goes))
    path = [
        each for each in reversed(lineage.revisions) if each.revision in taken - lineage.applied(destination)
    ]
    if path:
        lines.append(f"takes back, newest first: {', '.join(script.revision for script in path)}")
        losses = list(_losses(lineage, path))
        lines += [f"  {loss}" for loss in losses]
        if losses:
            lines.append("  (found in the statements; a function, a trigger or a CASCADE may do more)")
    return "\n".join(lines)


def _listed(labels: Sequence[str]) -> str:
    more = len(labels) - _SHOWN
    names = ", ".join(sorted(labels)[:_SHOWN])
    return f"{len(labels)} ({names}{f' and {more} more' if more > 0 else ''})"


def _losses(lineage: Lineage, path: Sequence[Script]) -> Iterator[str]:
    """Yield what each revision's downgrade does to rows."""
    for script in path:
        if is_online(script.module):
            yield f"{script.revision} runs online: what it does depends on the rows"
            continue
        for statement in downgrade_statements(lineage, script):
            for words in statements(statement.sql):
                loss = _loss([word.text for word in words])
                if loss is not None and "alembic_version" not in loss:
                    yield f"{script.revision} {loss}"


def _loss(words: Sequence[str]) -> str | None:
    """Return what a statement does to rows, or None."""
    keys, text = [word.lower() for word in words], " ".join(words)
    if keys[:2] == ["drop", "table"] or keys[0] == "truncate":
        return f"drops with all rows: {text}"
    if keys[0] in {"delete", "update", "do"}:
        return f"changes rows: {text}"
    if keys[:2] == ["alter", "table"]:
        actions = "".join(f" {key}" for key in keys).split(" ,")
        if any(" drop " in f"{action} " and not _KEEPS_ROWS.search(action) for action in actions):
            return f"drops with its values: {text}"
        if " type " in f" {' '.join(keys)} ":
            return f"converts values: {text}"
    return None


_KEEPS_ROWS: Final = re.compile(r" drop (constraint|not|default|identity|expression)\b")
