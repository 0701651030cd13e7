"""Figures: what was measured in rounds, how its spread and ratios are told, the table and the JSON."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

MEASURES: Final = ("per_second", "p50_ms", "p99_ms", "cpu_ms", "megabytes")
"""What can be measured, in the order of the table's columns. Seconds are told in milliseconds.

``cpu_ms`` is what an answer takes of a processor in the program itself, without its database.
"""


class Spread(msgspec.Struct, frozen=True):
    """The middle, least and most of what the rounds gave."""

    median: float
    min: float
    max: float
    rounds: tuple[float, ...]

    @classmethod
    def of(cls, rounds: Sequence[float]) -> "Spread":
        return cls(statistics.median(rounds), min(rounds), max(rounds), tuple(rounds))


class Figure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the table."""

    section: str
    what: str
    measured: dict[str, Spread]
    """By the names in `MEASURES`."""
    ratio: float | None = None
    of: str = ""
    """What the ratio is to."""
    note: str = ""


def figure(
    section: str,
    what: str,
    rounds: Mapping[str, Sequence[float]],
    *,
    by: str = "per_second",
    base: Mapping[str, Sequence[float]] | None = None,
    of: str = "",
    note: str = "",
) -> Figure:
    """Make a figure of what the rounds gave.

    Args:
        section: the part of the benchmark.
        what: the line's name.
        rounds: what each round gave, by the names in `MEASURES`.
        by: what the ratio is made of.
        base: what the same rounds gave for the thing to compare with, if there is one.
        of: its name.
        note: what else the reader must know.
    """
    measured = {name: Spread.of(rounds[name]) for name in MEASURES if rounds.get(name)}
    compared = ratio(rounds[by], base[by]) if base else None
    return Figure(section=section, what=what, measured=measured, ratio=compared, of=of, note=note)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of each round's ratio, since both sides of a round met the same machine."""
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least of the values that at least a ``share`` of all do not exceed.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


def table(figures: Sequence[Figure]) -> str:
    """Return the lines, one section under the other."""
    columns = ("", "per second", "least", "most", "p50 ms", "p99 ms", "cpu ms", "MB", "ratio", "")
    rows: list[tuple[str, ...]] = []
    sections = list(dict.fromkeys(one.section for one in figures))
    for section in sections:
        rows += [(f"{section}:", *columns[1:])]
        rows += [_cells(one) for one in figures if one.section == section]
        rows += [()]
    widths = [max(len(row[at]) for row in rows if row) for at in range(len(columns))] if rows else []
    return "\n".join(_line(row, widths) for row in rows).rstrip()


def _cells(one: Figure) -> tuple[str, ...]:
    rate = one.measured.get("per_second")
    others = [one.measured.get(name) for name in MEASURES[1:]]
    of = f"of {one.of}" if one.of else ""
    return (
        f"  {one.what}",
        *((_number(rate.median), _number(rate.min), _number(rate.max)) if rate else ("", "", "")),
        *(_number(spread.median) if spread else "" for spread in others),
        "" if one.ratio is None else f"{one.ratio:.2f}",
        "; ".join(filter(None, (of, one.note))),
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    aligned = [
        f"{cell:<{width}}" if at in {0, len(row) - 1} else f"{cell:>{width}}"
        for at, (cell, width) in enumerate(zip(row, widths, strict=False))
    ]
    return "  ".join(aligned).rstrip()


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def write(path: Path, figures: Sequence[Figure], about: Mapping[str, Any]) -> None:
    """Write figures and what they were measured on and with, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode({**about, "figures": figures}), indent=2)
    path.write_bytes(text + b"\n")
