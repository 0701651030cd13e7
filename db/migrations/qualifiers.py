"""Qualifiers: which schemas a statement names, and whether it looks beyond the schema that it runs in."""

from collections.abc import Sequence
from typing import Final

from db.migrations.lexer import Token

# The schemas that every tenant's session sees, and the rows of statements and triggers.
_KNOWN: Final = frozenset({"pg_catalog", "information_schema", "extensions", "excluded", "new", "old"})
_BEFORE_A_TABLE: Final = frozenset({"join", "table", "references", "update"})
_BEFORE_A_FIELD: Final = frozenset({"column", "by", "set", "local"})
_WITH_FROM: Final = frozenset({"extract", "overlay", "substring", "trim"})
"""Functions whose arguments follow FROM."""
_CATALOGS: Final = frozenset(
    [
        "information_schema",
        "pg_attrdef",
        "pg_attribute",
        "pg_class",
        "pg_constraint",
        "pg_depend",
        "pg_enum",
        "pg_index",
        "pg_indexes",
        "pg_matviews",
        "pg_policies",
        "pg_policy",
        "pg_proc",
        "pg_sequence",
        "pg_sequences",
        "pg_tables",
        "pg_trigger",
        "pg_type",
        "pg_views",
    ]
)
_SCOPES: Final = frozenset(
    [
        "current_schema",
        "current_schemas",
        "regclass",
        "regnamespace",
        "regproc",
        "regprocedure",
        "regtype",
        "to_regclass",
        "to_regnamespace",
        "to_regproc",
        "to_regprocedure",
        "to_regtype",
        "pg_function_is_visible",
        "pg_get_serial_sequence",
        "pg_table_is_visible",
        "pg_type_is_visible",
        "tg_relid",
        "tg_table_schema",
    ]
)
"""What ties a list of objects to the schema that the statement runs in."""


def schemas(parts: Sequence[Sequence[Token]]) -> list[str]:
    """Return the qualifiers that are schemas.

    They are those before the name of a table, and those that stand nowhere as the name of a table or an alias.

    Args:
        parts: a statement and its bodies. A name of the one may stand in the other.
    """
    alone: set[str] = set(_KNOWN)
    certain: list[str] = []
    qualifiers: list[str] = []
    for part in parts:
        for at, token in enumerate(part):
            if token.kind not in {"word", "name"} or (at and part[at - 1].text == "."):
                continue
            if not _is(part, at + 1, "."):
                alone.add(token.key)
            elif token.key not in _KNOWN and _before_a_table(part[:at]):
                certain.append(token.key)
            elif not _names_a_field(part, at):
                qualifiers.append(token.key)
    return [*certain, *(name for name in qualifiers if name not in alone)]


def _is(part: Sequence[Token], at: int, *texts: str) -> bool:
    return at < len(part) and part[at].text in texts


def _before_a_table(before: Sequence[Token]) -> bool:
    """Return whether a table's name follows."""
    keys = [token.key for token in before[-2:]]
    if keys[-1:] == ["into"]:
        return keys[0] in {"insert", "merge"}  # PL/pgSQL has INTO variable
    if keys[-1:] != ["from"]:
        return bool(keys) and keys[-1] in _BEFORE_A_TABLE
    return keys[0] != "distinct" and _function_around(before) not in _WITH_FROM


def _function_around(before: Sequence[Token]) -> str | None:
    """Return the word before the innermost bracket that is open."""
    depth = 0
    for at in range(len(before) - 1, 0, -1):
        depth += {")": 1, "(": -1}.get(before[at].text, 0)
        if depth < 0:
            return before[at - 1].key
    return None


def _names_a_field(part: Sequence[Token], at: int) -> bool:
    """Return whether two parts of a name are a table with its column, a column with its field, or a setting.

    So it is after COLUMN, OWNED BY, SET and SET LOCAL, before %TYPE, and before an equals sign.
    """
    if _is(part, at + 3, "."):
        return False
    return (at > 0 and part[at - 1].key in _BEFORE_A_FIELD) or _is(part, at + 3, "%", "=")


def unscoped(parts: Sequence[Sequence[Token]]) -> list[str]:
    """Return the catalogs in which a statement looks for objects of all schemas, other tenants' too.

    Args:
        parts: a statement and its bodies.
    """
    keys = {token.key for part in parts for token in part if token.kind in {"word", "name"}}
    return [] if keys & _SCOPES else sorted(keys & _CATALOGS)
