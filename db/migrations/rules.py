"""Rules: what a statement of a revision may be, so that it does the same on every path and in every schema."""

from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Final

from db.errors import TenantryError
from db.migrations.lexer import SqlError, Token, statements, tokens
from db.migrations.lineage import LineageName

ONLINE: Final = "declare online = True, and an upgrade_empty() for schemas without data"
"""The advice for what cannot be a script."""

_ENDS_TRANSACTION: Final = frozenset({"begin", "start", "commit", "end", "rollback", "abort"})
_NO_TRANSACTION: Final = (
    ("vacuum",),
    ("alter", "system"),
    ("create", "database"),
    ("drop", "database"),
    ("create", "tablespace"),
    ("drop", "tablespace"),
    ("create", "subscription"),
    ("drop", "subscription"),
)
_PLATFORM: Final = (
    ("grant",),
    ("revoke",),
    ("reassign",),
    ("create", "role"),
    ("create", "user"),
    ("create", "group"),
    ("alter", "role"),
    ("alter", "user"),
    ("alter", "group"),
    ("drop", "role"),
    ("drop", "user"),
    ("drop", "group"),
    ("drop", "owned"),
    ("alter", "default", "privileges"),
    ("security", "label"),
)
_SERIAL: Final = frozenset({"serial", "serial2", "serial4", "serial8", "bigserial", "smallserial"})
_BEFORE_A_COLUMN: Final = frozenset({"(", ",", "column", "add", "exists"})
_NO_COLUMN: Final = frozenset({"column", "constraint", "exists", "if", "like"})
# The schemas that every tenant's session sees, and the rows of statements and triggers.
_KNOWN_QUALIFIERS: Final = frozenset(
    {"pg_catalog", "information_schema", "extensions", "pg_temp", "excluded", "new", "old"}
)


class RuleError(TenantryError):
    """A statement that a revision must not run. The message says why, and what to write instead."""


def check(sql: str, lineage: LineageName, *, transaction: bool = True) -> None:
    """Check the text that a revision sends to PostgreSQL at once.

    Args:
        sql: the text.
        lineage: the lineage of the revision.
        transaction: whether the statement runs in a transaction that the revision did not begin.

    Raises:
        RuleError: the text is not one statement, or the statement is against a rule.
    """
    if "\0" in sql:
        raise RuleError("a NUL character: PostgreSQL cannot store it")
    try:
        found = statements(sql)
    except SqlError as error:
        raise RuleError(str(error)) from None
    if len(found) > 1:
        raise RuleError(f"{len(found)} statements in one: give each to an op.execute() of its own")
    for statement in found:
        words = [token.key if token.kind == "word" else token.text for token in statement]
        _check_ends(words)
        if transaction:
            _check_transaction(words)
        _check_session(words)
        if lineage == "tenant":
            _check_platform(words)
            _check_extension(words)
            _check_sequences(statement, words)
            _check_schema(statement, words)


def _starts(words: Sequence[str], *starts: tuple[str, ...]) -> str | None:
    """Return the first of ``starts`` with which a statement begins, in capitals, or None."""
    for start in starts:
        if tuple(words[: len(start)]) == start:
            return " ".join(start).upper()
    return None


def _check_ends(words: Sequence[str]) -> None:
    """Refuse what begins or ends a transaction; savepoints do not."""
    if words[0] in _ENDS_TRANSACTION or words[:2] == ["prepare", "transaction"]:
        if words[0] == "rollback" and "to" in words:
            return
        raise RuleError(
            f"{words[0].upper()}: a revision runs within its caller's transaction; with online = True,"
            " op.get_context().autocommit_block() is without one"
        )


def _check_transaction(words: Sequence[str]) -> None:
    if words[0] in {"savepoint", "release", "rollback"}:
        raise RuleError(f"{words[0].upper()}: a script fails as a whole: {ONLINE}")
    apart = _starts(words, *_NO_TRANSACTION)
    # A materialized view can be refreshed CONCURRENTLY within a transaction.
    if apart is None and "concurrently" in words and words[0] != "refresh":
        apart = "CONCURRENTLY"
    if words[:2] == ["alter", "type"] and _follow(words, "add", "value"):
        apart = "ALTER TYPE ... ADD VALUE, whose value can be used after a commit only,"
    if apart is not None:
        raise RuleError(f"{apart} cannot run in a transaction with other revisions: {ONLINE}")


def _follow(words: Sequence[str], first: str, second: str) -> bool:
    return any(pair == (first, second) for pair in pairwise(words))


def _check_session(words: Sequence[str]) -> None:
    """Refuse what changes the session, which later revisions and other tenants would find changed."""
    if words[0] == "copy":
        raise RuleError("COPY: write INSERT, or read the file in Python")
    if words[0] in {"listen", "unlisten", "discard", "prepare", "deallocate", "load"}:
        raise RuleError(f"{words[0].upper()} changes the session")
    if words[0] in {"set", "reset"}:
        names = [word for word in words[1:3] if word not in {"local", "session"}]
        if names and names[0] in {"search_path", "role", "authorization", "schema", "all"}:
            raise RuleError(f"{words[0].upper()} {names[0]}: the platform sets role and search_path")
        if words[0] == "reset" or words[1:2] not in (["local"], ["constraints"], ["transaction"]):
            raise RuleError("SET changes the session: write SET LOCAL")
    if _follow(words, "set", "search_path"):
        raise RuleError("SET search_path: the platform stores the path of migrations with each function")
    if "set_config" in words:
        raise RuleError("set_config: write SET LOCAL")


def _check_platform(words: Sequence[str]) -> None:
    found = _starts(words, *_PLATFORM)
    if found is None and _follow(words, "owner", "to"):
        found = "OWNER TO"
    if found is None and _follow(words, "security", "definer"):
        found = "SECURITY DEFINER"
    if found is not None:
        raise RuleError(f"{found}: the platform owns tenants' objects and grants the rights on them")


def _check_extension(words: Sequence[str]) -> None:
    if words[0] in {"create", "alter", "drop"} and words[1:2] == ["extension"]:
        raise RuleError(
            f"{words[0].upper()} EXTENSION: extensions belong to the database, not to a tenant; "
            "name them in EXTENSIONS in db/domain.py"
        )


def _check_sequences(statement: Sequence[Token], words: Sequence[str]) -> None:
    if words[0] == "create" and "sequence" in words[1:4]:
        raise RuleError(f"CREATE SEQUENCE: {_IDENTITY}")
    if words[0] not in {"create", "alter"} or "table" not in words[1:5]:
        return
    for before, column, type_ in zip(words, words[1:], statement[2:], strict=False):
        is_type = type_.kind == "word" and type_.key in _SERIAL
        if is_type and before in _BEFORE_A_COLUMN and column not in _NO_COLUMN:
            raise RuleError(f"{type_.key.upper()}: {_IDENTITY}")


_IDENTITY: Final = (
    "tenants' roles have no rights on sequences; declare the column with sa.Identity() "
    "(GENERATED BY DEFAULT AS IDENTITY)"
)


def _check_schema(statement: Sequence[Token], words: Sequence[str]) -> None:
    if words[0] in {"create", "alter", "drop"} and words[1:2] == ["schema"]:
        raise RuleError(f"{words[0].upper()} SCHEMA: a tenant has one schema, which the platform makes")
    if words[0] == "alter" and _follow(words, "set", "schema"):
        raise RuleError("SET SCHEMA: a tenant's tables stay in its schema")
    for name in _schemas(statement):
        raise RuleError(
            f"schema {name!r}: leave it out; a revision's names are looked up in the tenant's schema, "
            "then in extensions"
        )


def _schemas(statement: Sequence[Token]) -> list[str]:
    """Return the qualifiers that are schemas: those that stand nowhere as the name of a table or an alias.

    The bodies of functions and of DO are read too.
    """
    parts = [list(statement)]
    kinds = {token.key for token in statement[:4]}
    has_body = statement[0].key == "do" or (
        statement[0].key == "create" and kinds & {"function", "procedure"}
    )
    for token in statement:
        body = _body(token) if has_body else None
        with suppress(SqlError):  # a body in another language than SQL
            parts.append([each for each in tokens(body or "") if each.kind != "comment"])
    alone: set[str] = set(_KNOWN_QUALIFIERS)
    qualifiers: list[str] = []
    for part in parts:
        _collect(part, alone, qualifiers)
    return [name for name in qualifiers if name not in alone]


def _body(token: Token) -> str | None:
    """Return what a string says, if it may be the body of a function."""
    if token.kind != "string" or " " not in token.text.strip("'"):
        return None
    if token.text.startswith("$"):
        return token.text[token.text.index("$", 1) + 1 : token.text.rindex("$", 0, -1)]
    return token.text[token.text.index("'") + 1 : -1].replace("''", "'")


def _collect(part: Sequence[Token], alone: set[str], qualifiers: list[str]) -> None:
    """Add a part's names that stand alone to ``alone``, and its first qualifiers to ``qualifiers``."""
    texts = [token.text for token in part]
    for at, token in enumerate(part):
        if token.kind not in {"word", "name"} or (at and texts[at - 1] == "."):
            continue
        if texts[at + 1 : at + 2] != ["."]:
            alone.add(token.key)
            continue
        # COLUMN and OWNED BY name a column with its table, and so does %TYPE.
        of_column = (at and part[at - 1].key in {"column", "by"}) or texts[at + 3 : at + 4] == ["%"]
        if texts[at + 3 : at + 4] == ["."] or not of_column:
            qualifiers.append(token.key)
