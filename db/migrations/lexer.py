"""The lexical structure of SQL text: tokens, and the statements that they make.

PostgreSQL manual, SQL Syntax, Lexical Structure. Strings are read as with ``standard_conforming_strings``.
All characters beyond ASCII are letters there, those that look like spaces too.
"""

import re
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from db.errors import TenantryError

TokenKind = Literal["word", "name", "string", "number", "parameter", "symbol", "comment"]

_TOKEN: Final = re.compile(
    r"""
      (?P<space>[ \t\n\r\f\v]+)
    | (?P<comment>--[^\r\n]*)
    | (?P<block>/\*)
    | (?P<string>
          [eE]'(?:\\.|''|[^'\\])*'
        | (?:[bBxXnN]|[uU]&)?'(?:''|[^'])*'
        | \$(?P<tag>[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*|)\$.*?\$(?P=tag)\$
      )
    | (?P<name>(?:[uU]&)?"(?:""|[^"])*")
    | (?P<word>[A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]*)
    | (?P<parameter>\$\d+)
    | (?P<number>\d[\d_.]*(?:[eE][+-]?\d+)?|0[xob]\w+)
    | (?P<symbol>::|.)
    """,
    re.DOTALL | re.VERBOSE,
)
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")


class SqlError(TenantryError):
    """SQL text that ends within a string, a quoted name or a comment."""


class Token(msgspec.Struct, frozen=True):
    """A token of SQL text.

    Args:
        kind: what the token is. Quoted identifiers are names; keywords and other identifiers are words.
        text: the token as it stands in the text.
        at: its place in the text, in characters from 0.
    """

    kind: TokenKind
    text: str
    at: int

    @property
    def key(self) -> str:
        """A word in lower case, the identifier that a name quotes, or the text of any other token."""
        if self.kind == "word":
            return self.text.lower()
        if self.kind == "name":
            return self.text[self.text.index('"') + 1 : -1].replace('""', '"')
        return self.text


def tokens(sql: str) -> Iterator[Token]:
    """Yield the tokens of SQL text, comments included.

    Raises:
        SqlError: the text ends within a string, a quoted name or a comment.
    """
    at = 0
    while at < len(sql):
        found = _TOKEN.match(sql, at)
        assert found is not None  # the last alternative matches any character
        kind, end = found.lastgroup, found.end()
        if kind == "tag":
            kind = "string"
        if kind == "block":
            kind, end = "comment", _end_of_comment(sql, end)
        if kind == "symbol" and found[0] in {"'", '"'}:
            raise SqlError(f"a {found[0]} is not closed")
        if kind != "space":
            yield Token(kind, sql[at:end], at)  # type: ignore[arg-type]
        at = end


def _end_of_comment(sql: str, at: int) -> int:
    """Return the end of a block comment, which may hold others."""
    depth = 1
    while depth:
        edge = _COMMENT_EDGE.search(sql, at)
        if edge is None:
            raise SqlError("a /* is not closed")
        depth += 1 if edge[0] == "/*" else -1
        at = edge.end()
    return at


def statements(sql: str) -> list[list[Token]]:
    """Return the tokens of each statement of a text, without comments and final semicolons.

    A semicolon within parentheses (of CREATE RULE) or a ``BEGIN ATOMIC`` body ends no statement.

    Raises:
        SqlError: the text ends within a string, a quoted name or a comment.
    """
    found: list[list[Token]] = [[]]
    brackets = blocks = 0
    for token in tokens(sql):
        if token.kind == "comment":
            continue
        before = found[-1][-1] if found[-1] else None
        if token.kind == "word":
            begins = token.key == "atomic" and before is not None and before.key == "begin"
            if begins or (blocks and token.key == "case"):
                blocks += 1
            elif blocks and token.key == "end":
                blocks -= 1
        elif token.kind == "symbol" and token.text in "()":
            brackets += 1 if token.text == "(" else -1
        if token.text == ";" and not blocks and brackets <= 0:
            found.append([])
            brackets = 0
        else:
            found[-1].append(token)
    return [statement for statement in found if statement]


def substitute(sql: str, values: list[str]) -> str:
    """Replace the parameters ``$1``, ``$2``, ... of a statement by SQL expressions.

    Without values, parameters are those of a function's body, and stay.
    """
    if not values:
        return sql
    parts, at = [], 0
    for token in tokens(sql):
        if token.kind == "parameter":
            parts += [sql[at : token.at], values[int(token.text[1:]) - 1]]
            at = token.at + len(token.text)
    return "".join([*parts, sql[at:]])


def terminated(sql: str) -> str:
    """Return a statement with a final semicolon, on a line of its own after a comment."""
    last = None
    for last in tokens(sql):  # noqa: B007 - the last one is wanted
        pass
    in_comment = last is not None and last.kind == "comment" and last.text.startswith("--")
    return f"{sql}\n;" if in_comment else f"{sql};"
