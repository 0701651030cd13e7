"""Rules: what a statement of a revision may be, so that it does the same on every path and in every schema."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from db.errors import TenantryError
from db.migrations.bodies import bodies, pieces
from db.migrations.lexer import SqlError, Token, statements
from db.migrations.lineage import LineageName
from db.migrations.qualifiers import schemas, unscoped

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
    ("reindex", "database"),
    ("reindex", "schema"),
    ("reindex", "system"),
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
_OF_THE_DATABASE: Final = frozenset({"database", "event", "publication", "server"})


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
        if len(found) > 1:
            raise RuleError(f"{len(found)} statements in one: give each to an op.execute() of its own")
        for statement in found:
            _check_statement(statement, lineage, transaction=transaction)
    except SqlError as error:
        raise RuleError(str(error)) from None


def _check_statement(statement: list[Token], lineage: LineageName, *, transaction: bool) -> None:
    parts = [statement, *bodies(statement)]
    _check_outer(statement, transaction=transaction)
    for piece in (statement, *(piece for body in parts[1:] for piece in pieces(body))):
        words = _words(piece)
        if words[1:2] in ([":"], ["="], ["."], ["["]):
            continue  # a variable of PL/pgSQL is given a value
        _check_session(words)
        if lineage == "tenant":
            _check_platform(words)
            _check_database(words)
            _check_sequences(piece, words)
            _check_own_schema(words)
    for part in parts:
        _check_functions(part)
    if lineage == "tenant":
        for name in schemas(parts):
            raise RuleError(
                f"schema {name!r}: leave it out; a revision's names are looked up in the tenant's schema, "
                "then in extensions"
            )
        # An online revision may look in one statement, and narrow what it finds in another.
        for name in unscoped(parts) if transaction else ():
            raise RuleError(
                f"{name} shows the objects of all tenants: compare their schema with current_schema(), "
                "or write IF [NOT] EXISTS, or to_regclass('name')"
            )


def _words(statement: Sequence[Token]) -> list[str]:
    """Return keywords and names in lower case, and quoted names with their quotes, since they are no keywords."""
    return [token.key if token.kind == "word" else token.text for token in statement]


def _starts(words: Sequence[str], *starts: tuple[str, ...]) -> str | None:
    """Return the first of ``starts`` with which a statement begins, in capitals, or None."""
    for start in starts:
        if tuple(words[: len(start)]) == start:
            return " ".join(start).upper()
    return None


def _check_outer(statement: Sequence[Token], *, transaction: bool) -> None:
    """Refuse what is no part of a transaction, and what stays in the session; in a body they are something else."""
    words = _words(statement)
    if words[0] == "declare":
        raise RuleError("DECLARE: a cursor of SQL would stay; loop over rows in a DO block")
    to_savepoint = words[0] == "rollback" and "to" in words
    if words[:2] == ["prepare", "transaction"] or (words[0] in _ENDS_TRANSACTION and not to_savepoint):
        raise RuleError(
            f"{words[0].upper()}: a revision runs within its caller's transaction; with online = True,"
            " op.get_context().autocommit_block() is without one"
        )
    if words[0] == "create" and _follow(words, "set", "search_path"):
        raise RuleError("SET search_path: the platform stores the path of migrations with each function")
    if not transaction:
        return
    if to_savepoint or words[0] in {"savepoint", "release"}:
        raise RuleError(f"{words[0].upper()}: a script fails as a whole: {ONLINE}")
    apart = _starts(words, *_NO_TRANSACTION)
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
    if words[0] == "commit" or (words[0] == "rollback" and "to" not in words):
        raise RuleError(f"{words[0].upper()} in a body: PostgreSQL refuses it within a caller's transaction")
    if words[0] in {"set", "reset"}:
        names = [word.strip('"') for word in words[1:3] if word not in {"local", "session"}]
        if names and names[0] in {"search_path", "role", "authorization", "schema", "all"}:
            raise RuleError(f"{words[0].upper()} {names[0]}: the platform sets role and search_path")
        if names and names[0] in {
            "standard_conforming_strings",
            "backslash_quote",
            "client_encoding",
            "names",
        }:
            raise RuleError(f"SET {names[0]}: a script is read as a whole, before it has any effect")
        if words[0] == "reset" or words[1:2] not in (["local"], ["constraints"], ["transaction"]):
            raise RuleError("SET changes the session: write SET LOCAL")
    made = [word for word in words[1:3] if word not in {"local", "global"}]
    if (words[0] == "create" and made[:1] in (["temp"], ["temporary"])) or (
        _follow(words, "into", "temp") or _follow(words, "into", "temporary")
    ):
        raise RuleError(
            "a temporary table: PostgreSQL has been told to refuse it, since it would stay in the session; "
            "write WITH ... AS, or a table that the revision drops again"
        )
    if words[0] == "refresh" and "concurrently" in words:
        raise RuleError(
            "REFRESH ... CONCURRENTLY needs a temporary table, which is refused: write REFRESH alone"
        )


def _check_functions(part: Sequence[Token]) -> None:
    for token in part:
        if token.kind not in {"word", "name"}:
            continue
        if token.key == "set_config":
            raise RuleError("set_config: write SET LOCAL")
        if token.key.startswith(("pg_advisory_", "pg_try_advisory_")) and "_xact_" not in token.key:
            raise RuleError(f"{token.key} changes the session: write pg_advisory_xact_lock")


def _check_platform(words: Sequence[str]) -> None:
    found = _starts(words, *_PLATFORM)
    if found is None and words[0] == "alter" and _follow(words, "owner", "to"):
        at = words.index("owner")
        found = None if "rename" in words[at - 2 : at] else "OWNER TO"
    if found is None and _follow(words, "security", "definer"):
        found = "SECURITY DEFINER"
    if found is not None:
        raise RuleError(f"{found}: the platform owns tenants' objects and grants the rights on them")


def _check_database(words: Sequence[str]) -> None:
    verb = words[0].upper()
    if words[0] in {"create", "alter", "drop"} and words[1:2] == ["extension"]:
        raise RuleError(
            f"{verb} EXTENSION: extensions belong to the database, not to a tenant; "
            "name them in EXTENSIONS in db/domain.py"
        )
    of_database, kind = _OF_THE_DATABASE, words[1:2]
    if words[:2] == ["comment", "on"]:
        verb, of_database, kind = "COMMENT ON", of_database | {"extension", "role", "schema"}, words[2:3]
    elif words[0] not in {"create", "alter", "drop"}:
        return
    for name in of_database.intersection(kind):
        raise RuleError(f"{verb} {name.upper()}: it belongs to the database, not to a tenant")


def _check_sequences(statement: Sequence[Token], words: Sequence[str]) -> None:
    made = [word for word in words[1:3] if word not in {"temp", "temporary", "unlogged"}]
    if words[0] == "create" and made[:1] == ["sequence"]:
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


def _check_own_schema(words: Sequence[str]) -> None:
    if words[0] in {"create", "alter", "drop"} and words[1:2] == ["schema"]:
        raise RuleError(f"{words[0].upper()} SCHEMA: a tenant has one schema, which the platform makes")
    if words[0] == "alter" and _follow(words, "set", "schema"):
        raise RuleError("SET SCHEMA: a tenant's tables stay in its schema")
