"""Lock levels: which lock on existing tables a statement takes, as the PostgreSQL manual's "Explicit Locking" says.

Found in the text, without a database. A function or a trigger may take more.
"""

import re
from collections.abc import Sequence
from typing import Final

NONE: Final = "none"
"""On no table that was there before."""
UNKNOWN: Final = "unknown"

_EXCLUSIVE: Final = "ACCESS EXCLUSIVE"
_ROWS: Final = "SHARE ROW EXCLUSIVE"
_MILD: Final = "SHARE UPDATE EXCLUSIVE"

_ORDER: Final = (
    NONE,
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    _MILD,
    "SHARE",
    _ROWS,
    "EXCLUSIVE",
    _EXCLUSIVE,
)

# The first that fits the statement's beginning, in lower case. What is not here is `UNKNOWN`.
_RULES: Final[tuple[tuple[str, str], ...]] = (
    (r"create (unlogged )?table .* partition of ", _EXCLUSIVE),
    (r"create (unlogged )?table .* references ", _ROWS),
    (r"create (unlogged )?table .* inherits ", _MILD),
    (r"create (unique )?index concurrently ", _MILD),
    (r"create (unique )?index ", "SHARE"),
    (r"(drop index|reindex .*) concurrently ", _MILD),
    (r"create (or replace )?(constraint )?trigger ", _ROWS),
    (r"create (or replace )?rule ", _EXCLUSIVE),
    (r"create (or replace )?policy ", _EXCLUSIVE),
    (r"create statistics ", _MILD),
    (r"create ", NONE),
    (r"alter index \S+ rename ", _MILD),
    (r"alter (sequence|view|function|procedure|routine|type|domain|schema|statistics) ", NONE),
    (r"drop (function|procedure|routine|type|domain|sequence) ", NONE),
    (r"drop (table|index|view|materialized|trigger|rule|policy|schema|owned) ", _EXCLUSIVE),
    (r"truncate ", _EXCLUSIVE),
    (r"(reindex|cluster) ", _EXCLUSIVE),
    (r"vacuum full ", _EXCLUSIVE),
    (r"(vacuum|analyze|comment on) ", _MILD),
    (r"refresh materialized view concurrently ", "EXCLUSIVE"),
    (r"refresh materialized view ", _EXCLUSIVE),
    (r"(with .* )?(insert|update|delete|merge|copy) ", "ROW EXCLUSIVE"),
    (r"select .* for (no key )?(update|share)", "ROW SHARE"),
    (r"(select|with) ", "ACCESS SHARE"),
    (r"(set|reset|grant|revoke|call|notify) ", NONE),
)
_ALTERATIONS: Final[tuple[tuple[str, str], ...]] = (
    (r"validate constraint ", _MILD),
    (r"alter (column )?\S+ set statistics ", _MILD),
    (r"(re)?set \(", _MILD),
    (r"(set without cluster|cluster on) ", _MILD),
    (r"detach partition .* concurrently", _MILD),
    (r"add (constraint \S+ )?foreign key ", _ROWS),
    (r"(enable|disable) (always |replica )?trigger ", _ROWS),
)
_ALTER_TABLE: Final = re.compile(r"alter table (if exists )?(only )?\S+( \. \S+)? (?P<actions>.*)")
_LOCK: Final = re.compile(r"lock (?:(?!.* mode ).*|.* in (?P<mode>[a-z ]+) mode )")


def level(words: Sequence[str]) -> str:
    """Return the strongest lock that a statement takes on tables that were there before; `NONE` or `UNKNOWN` else.

    Args:
        words: the statement's tokens.
    """
    text = " ".join(words).lower() + " "
    altered = _ALTER_TABLE.match(text)
    if altered is not None:
        return strongest([_first(_ALTERATIONS, each) or _EXCLUSIVE for each in _actions(altered["actions"])])
    locked = _LOCK.match(text)
    if locked is not None:
        return (locked["mode"] or _EXCLUSIVE).upper()
    return _first(_RULES, text) or UNKNOWN


def strongest(levels: Sequence[str]) -> str:
    """Return the strongest of some levels; one that is unknown counts as such unless another is the strongest."""
    known = [each for each in levels if each in _ORDER]
    found = max(known, key=_ORDER.index, default=NONE)
    return UNKNOWN if len(known) < len(levels) and found != _EXCLUSIVE else found


def _first(rules: Sequence[tuple[str, str]], text: str) -> str | None:
    return next((lock for pattern, lock in rules if re.match(pattern, text)), None)


def _actions(text: str) -> list[str]:
    """Split what ALTER TABLE does at the commas that are in no parentheses."""
    found, depth = [""], 0
    for word in text.split(" "):
        depth += word.count("(") - word.count(")")
        if word == "," and depth == 0:
            found.append("")
        else:
            found[-1] += f"{word} "
    return found
