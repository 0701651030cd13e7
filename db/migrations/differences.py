"""Differences between two structures, in words: ``users.first_name: varchar(100) expected, text found``."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from db.migrations.fingerprint import Object, Structure
from db.names import escaped

LONGEST: Final = 200
"""Characters of a definition that are shown; of a longer one, those around the difference."""

_Key = tuple[str, str]
_Pair = tuple[Object | None, Object | None]

_TYPES: Final = (
    (re.compile(r"^character varying\b"), "varchar"),
    (re.compile(r"^character\b"), "char"),
    (re.compile(r"^bit varying\b"), "varbit"),
    (re.compile(r"^(timestamp|time)((?:\(\d\))?) with time zone"), r"\1tz\2"),
    (re.compile(r"^(timestamp|time)((?:\(\d\))?) without time zone"), r"\1\2"),
    (re.compile(r"^double precision\b"), "float8"),
)
"""Names of types that SQL writes in several words, and what people write."""
_CODES: Final = (
    (re.compile(r" IDENTITY a(?= |\Z)"), " IDENTITY ALWAYS"),
    (re.compile(r" IDENTITY d(?= |\Z)"), " IDENTITY BY DEFAULT"),
    (re.compile(r" GENERATED s(?= |\Z)"), " GENERATED STORED"),
    (re.compile(r" GENERATED v(?= |\Z)"), " GENERATED VIRTUAL"),
    (re.compile(r" ENABLED A\Z"), " ENABLED ALWAYS"),
    (re.compile(r" ENABLED D\Z"), " DISABLED"),
    (re.compile(r" ENABLED R\Z"), " ENABLED REPLICA"),
)
"""Letters of the catalog, and what they mean."""

_OF_A_TABLE: Final = frozenset({"column", "constraint", "index", "trigger", "rule", "policy"})
"""Kinds whose names begin with the table's."""
_OF_AN_OBJECT: Final = frozenset({"grant", "owner", "comment"})
_IN_CLAUSES: Final = frozenset({"column", "sequence"})
"""Kinds whose definitions are key words and what follows them, of which only those that differ are shown."""
_CODED: Final = frozenset({"column", "trigger", "rule"})
_KEY_WORD: Final = re.compile(r"[A-Z]+")
_ORDER: Final = ("relation", "column", "constraint", "index")
_NAMED: Final = {"<tenant>": "the tenant's role", "<owner>": "the owner", "PUBLIC": "everybody"}
_WHOLE: Final = {
    "relation": "table",
    "name": "",
    "default grant": "default rights",
    "text search": "text search",
}


def describe(expected: Structure, found: Structure) -> list[str]:
    """Return the differences between two structures, one line each; none if they are the same.

    What belongs to an object that is missing, or that nobody expected, is not listed beside it.

    Args:
        expected: the structure that there should be.
        found: the structure that there is.
    """
    pairs = _pairs(expected - found, found - expected)
    whole = [key for key, pair in pairs.items() if None in pair and key[0] not in _OF_AN_OBJECT]
    columns = {name for kind, name in pairs if kind == "column"}
    return [
        escaped(_words(*pair))
        for (kind, name), pair in sorted(pairs.items(), key=lambda item: _place(*item[0]))
        if not any(_belongs(kind, name, pair, other) for other in whole)
        and not (kind == "constraint" and _says_not_null(name, pair, columns))
    ]


def _pairs(missing: Iterable[Object], surplus: Iterable[Object]) -> Mapping[_Key, _Pair]:
    """Return what is expected and what is found, by kind and name."""
    pairs: dict[_Key, _Pair] = {(each.kind, each.name): (each, None) for each in missing}
    for each in surplus:
        key = (each.kind, each.name)
        pairs[key] = (pairs.get(key, (None, None))[0], each)
    return pairs


def _place(kind: str, name: str) -> tuple[int, str, str]:
    return (_ORDER.index(kind) if kind in _ORDER else len(_ORDER), kind, name)


def _belongs(kind: str, name: str, pair: _Pair, whole: _Key) -> bool:
    """Return whether an object comes and goes with another one."""
    other_kind, other = whole
    if (
        kind in _OF_AN_OBJECT
    ):  # named by PostgreSQL's identity, such as `function <tenant>.f(integer) TO PUBLIC`
        return (
            re.search(rf" <tenant>\.{re.escape(other.partition('(')[0])}(?:[.(]|\Z| TO )", name) is not None
        )
    if kind == "index" and other_kind == "constraint":
        return name == other
    if other_kind != "relation":
        return other_kind == "column" and kind == "sequence" and _is_its_sequence(pair, other)
    return (
        name.startswith(f"{other}.")
        if kind in _OF_A_TABLE
        else kind == "sequence" and _is_its_sequence(pair, other)
    )


def _is_its_sequence(pair: _Pair, owner: str) -> bool:
    """Return whether a sequence is that of a table or column."""
    return any(
        each is not None and re.search(rf" (?:OF|BY) <tenant>\.{re.escape(owner)}(?:\.|\Z)", each.definition)
        for each in pair
    )


def _says_not_null(name: str, pair: _Pair, columns: set[str]) -> bool:
    """Return whether a constraint only says what a column that is listed says: that it is NOT NULL."""
    table = name.partition(".")[0]
    said = [each.definition for each in pair if each is not None]
    return all(text.startswith("NOT NULL ") for text in said) and any(
        f"{table}.{text.split(' ')[2]}" in columns for text in said
    )


def _words(expected: Object | None, found: Object | None) -> str:
    object_ = expected or found
    assert object_ is not None  # there is a difference
    if object_.kind == "grant":
        return _rights(object_.name, expected, found)
    name = _name(object_)
    if found is None:
        return f"{name}: missing"
    if expected is None and object_.kind == "owner":
        return f"{name}: the owner expected, {_definition(object_)} found"
    if expected is None:
        shown = "" if object_.kind == "relation" else _definition(object_)
        return f"{name}: not expected" + (f", {_cut(shown)} found" if shown else "")
    wanted, seen = _definition(expected), _definition(found)
    if object_.kind in _IN_CLAUSES:
        wanted, seen = _unlike(wanted, seen)
    elif max(len(wanted), len(seen)) > LONGEST:
        wanted, seen = _around(wanted, seen)
    return f"{name}: {wanted or 'nothing'} expected, {seen or 'nothing'} found"


def _name(object_: Object) -> str:
    """Return what people call an object; a column's name says by itself what it is."""
    name = _plain(object_.name)
    if object_.kind == "column":
        return name
    if object_.kind == "relation":
        kind = re.match(
            r"(?:UNLOGGED )?((?:partitioned |foreign )?table|(?:materialized )?view)", object_.definition
        )
        return f"{kind[1] if kind else 'table'} {name}"
    if object_.kind in {"owner", "comment"}:
        return f"{object_.kind} of {name}"
    return f"{_WHOLE.get(object_.kind, object_.kind)} {name}".strip()


def _definition(object_: Object) -> str:
    text = object_.definition
    if object_.kind == "owner":
        return _NAMED.get(text, text)
    if object_.kind == "column":
        for pattern, short in _TYPES:
            text = pattern.sub(short, text)
    for pattern, meaning in _CODES if object_.kind in _CODED else ():
        text = pattern.sub(meaning, text)
    return _plain(" ".join(text.split()))


def _plain(text: str) -> str:
    """Return a text without the tenant's schema before names."""
    return text.replace("<tenant>.", "")


def _rights(name: str, expected: Object | None, found: Object | None) -> str:
    """Return how the rights of one role on one object differ."""
    object_, _, role = name.rpartition(" TO ")
    wanted, seen = (
        {re.sub(r" BY \S+$", "", right) for right in each.definition.split(", ")} if each else set[str]()
        for each in (expected, found)
    )
    said = [
        f"{', '.join(sorted(rights))} {word}"
        for rights, word in ((wanted - seen, "missing"), (seen - wanted, "not expected"))
        if rights
    ]
    if not said:
        said = ["granted by somebody else"]
    return f"rights of {_NAMED.get(role, role)} on {_plain(object_)}: {'; '.join(said)}"


def _unlike(wanted: str, seen: str) -> tuple[str, str]:
    """Return two definitions without what they have in common, word by word.

    A key word stays with what follows it, and brackets with what is in them: ``DEFAULT 1`` and ``DEFAULT 2``.
    """
    one, other = wanted.split(" "), seen.split(" ")
    start = end = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    while end < min(len(one), len(other)) - start and one[-1 - end] == other[-1 - end]:
        end += 1

    def rests() -> list[list[str]]:
        return [words[start : len(words) - end] for words in (one, other)]

    while start > 0 and all(rests()) and not all(_KEY_WORD.fullmatch(rest[0]) for rest in rests()):
        start -= 1
    if start > 0 and one[start - 1] in {"IDENTITY", "GENERATED"} and all(rests()):
        start -= 1
    while end > 0 and any("".join(rest).count("(") != "".join(rest).count(")") for rest in rests()):
        end -= 1
    first, second = (_cut(" ".join(rest)) for rest in rests())
    return first, second


def _around(wanted: str, seen: str) -> tuple[str, str]:
    """Return two long texts from shortly before where they part."""
    start = next((at for at, (a, b) in enumerate(zip(wanted, seen, strict=False)) if a != b), 0)
    start = max(0, min(start, len(wanted), len(seen)) - 40)
    first, second = (f"{'...' if start else ''}{_cut(text[start:])}" for text in (wanted, seen))
    return first, second


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
