"""SQL within SQL: the strings of a statement that PostgreSQL runs as code, and the statements in them."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from db.migrations.lexer import SqlError, Token, tokens

_READ: Final = frozenset({"sql", "plpgsql"})
"""The languages whose bodies are read. Others have other strings and comments."""
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_PLACEHOLDER: Final = re.compile(r"%(?:\d+\$)?(?:-?\d+)?[sIL]")
_OPENS: Final[dict[str, frozenset[str]]] = {
    "then": frozenset({"if", "elsif", "elseif", "when", "case"}),
    "loop": frozenset({"for", "foreach", "while", "loop"}),
}
"""The words after which PL/pgSQL begins a statement, and how what comes before them begins."""


def bodies(statement: Sequence[Token]) -> Iterator[list[Token]]:
    """Yield the tokens of each string that is run as code, and of those within it, without comments.

    That is the body of a function, a procedure or of DO, and a string after EXECUTE. What EXECUTE puts together
    otherwise is not known before it runs.

    Raises:
        SqlError: a body ends within a string, a quoted name or a comment.
    """
    keys = [token.key for token in statement]
    languages = {keys[at + 1] for at, key in enumerate(keys[:-1]) if key == "language"}
    if keys[:1] in (["do"], ["create"]) and not languages <= _READ:
        return
    for at, token in enumerate(statement):
        if token.kind != "string" or not _is_code(keys[:at]):
            continue
        try:
            body = [each for each in tokens(_text(token.text)) if each.kind != "comment"]
        except SqlError as error:
            raise SqlError(f"in a body: {error}") from None
        yield body
        yield from bodies(body)


def _is_code(before: Sequence[str]) -> bool:
    """Return whether a string is code, by the words before it."""
    if before[-1:] == ["as"]:
        return "function" in before or "procedure" in before
    return (
        before[-1:] in (["do"], ["execute"])
        or before[-3:-1] == ["do", "language"]
        or before[-3:] == ["execute", "format", "("]
    )


def _text(string: str) -> str:
    """Return what a string holds, with ``$1`` in place of the placeholders of ``format``."""
    if string.startswith("$"):
        text = string[string.index("$", 1) + 1 : string.rindex("$", 0, -1)]
    else:
        text = string[string.index("'") + 1 : -1].replace("''", "'")
        if string[0] in "eE":
            text = _ESCAPE.sub(lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), text)
    return _PLACEHOLDER.sub("$1", text)


def pieces(body: Sequence[Token]) -> Iterator[list[Token]]:
    """Yield the statements of a body, without the words of PL/pgSQL around them and without declarations."""
    piece: list[Token] = []
    declares = False
    for token in body:
        first = piece[0].key if piece else token.key
        if not piece and token.key in {"begin", "declare", "else", "exception"}:
            declares = token.key == "declare"
        elif token.text == ";" or first in _OPENS.get(token.key, ()) or _ends_label(piece, token):
            if piece and not declares:
                yield piece
            piece = []
        else:
            piece.append(token)
    if piece and not declares:
        yield piece


def _ends_label(piece: Sequence[Token], token: Token) -> bool:
    return token.text == ">" and [each.text for each in (*piece[:2], *piece[-1:])] == ["<", "<", ">"]
